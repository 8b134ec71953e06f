"""Fakes for tests: a ledger and a broker in memory, a clock that is moved by hand, eager runs.

They stand in for the database, RabbitMQ and real time wherever the package takes one as an
argument. Nothing here is fast or lasting, and nothing leaves the process.
"""

from sms_pipeline.testing.broker import InMemoryBroker, work_off
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.eager import EagerRun, eager_run
from sms_pipeline.testing.ledger import memory_ledger

__all__ = [
    "EagerRun",
    "InMemoryBroker",
    "ManualClock",
    "eager_run",
    "memory_ledger",
    "work_off",
]
