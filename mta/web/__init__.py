"""The console, the HTTP API and the metrics."""
