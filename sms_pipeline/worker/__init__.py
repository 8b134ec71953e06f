"""A Celery worker process that plays sender profiles."""
