"""Workers under test: `celery -A tests.chaos.chaos_app worker …`."""

from sms_pipeline.celery import app
from tests.chaos import instruments

__all__ = ["app"]

instruments.install()
