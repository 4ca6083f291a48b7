"""Real peers for the integration tests, each in a process of its own that leaves nothing behind."""
