"""Celery's settings, for `celery --config celeryconfig`; what each is for stands in the package."""

from sms_pipeline.celeryconfig import *
