"""The tests: unit (no service), functional and chaos (real broker, database and workers)."""
