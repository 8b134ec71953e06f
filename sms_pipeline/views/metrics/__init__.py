"""Figures for Prometheus and health checks."""
