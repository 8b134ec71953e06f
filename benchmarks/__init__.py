"""Benchmarks: what the pipeline can do, beside what it is compared with, in one run."""
