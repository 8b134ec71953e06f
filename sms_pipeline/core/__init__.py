"""What can be told without a clock, a database, a broker or a thread."""
