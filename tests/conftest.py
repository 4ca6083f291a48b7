"""Its place makes what lies beside it importable for all tests: `dns_server` and other helpers."""
