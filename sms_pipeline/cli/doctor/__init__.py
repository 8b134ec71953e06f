"""The doctor: what a run will meet here, and the remedy for what would disturb it."""
