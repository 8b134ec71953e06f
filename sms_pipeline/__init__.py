"""Rehearse a mass SMS alert on Celery and RabbitMQ, with totals that are proven."""

__version__ = "0.1.0"
