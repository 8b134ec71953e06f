"""What was dispatched and what became of it, counted exactly once."""
