"""Fakes for tests: a ledger and a broker in memory, and a clock that is moved by hand.

They stand in for the database, RabbitMQ and real time wherever the package takes one as an
argument. Nothing here is fast or lasting, and nothing leaves the process.
"""

from sms_pipeline.testing.broker import InMemoryBroker, work_off
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger

__all__ = ["InMemoryBroker", "ManualClock", "memory_ledger", "work_off"]
