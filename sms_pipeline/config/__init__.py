"""What to rehearse, and where things are."""
