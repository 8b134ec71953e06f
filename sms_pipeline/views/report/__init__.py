"""A run in one document."""
