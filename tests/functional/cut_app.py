"""A worker whose first connection ends as it does when Celery swallows the broker's goodbye."""

from celery.worker import loops
from kombu import Connection

from sms_pipeline.celery import app

__all__ = ["app"]

#: Missed heartbeats, too, tell that a connection is gone: later than any test waits.
app.conf.broker_heartbeat = 600

_quick_drain = loops._quick_drain


def _swallow_goodbye(connection: Connection) -> None:
    loops._quick_drain = _quick_drain
    # What amqp does when it reads Connection.Close, before it raises what Celery ignores.
    connection.connection.collect()


loops._quick_drain = _swallow_goodbye
