"""Tests of the doctor: verdicts as pure functions, and how checks are made and shown."""
