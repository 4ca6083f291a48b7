"""Small things over Twisted's transports that both directions share."""
