"""Faults under load: whatever breaks, every message has exactly one fate."""
