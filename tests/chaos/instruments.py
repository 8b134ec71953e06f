"""What a process under test gets for chaos tests: a journal, failpoints, bad habits.

The package has no hooks for any of this; its functions are wrapped from outside, in the processes
started as `tests.chaos.chaos_app` (workers) and `tests.chaos.chaos_cli` (everything else). What
is wanted is read from the environment.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import time
import zlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from celery import Celery, Task

from sms_pipeline.broker import topology
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.celery import app
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core import gateway
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.records import Settled, Settlement
from sms_pipeline.worker import delivery, process

#: A folder for journals: one file for each process that plays.
JOURNAL = "CHAOS_JOURNAL"
#: Where the process kills itself: "NAME:N", the N-th time it gets there. See `Point`.
FAILPOINT = "CHAOS_FAILPOINT"
#: What is published twice, a `Twice`.
TWICE = "CHAOS_TWICE"
#: A file with the seconds by which the machine's clock was set, for all of its processes.
CLOCK = "CHAOS_CLOCK"
#: Seconds that the clock is ahead on the process's host, which is no other process's.
HOST_CLOCK = "CHAOS_HOST_CLOCK"
#: "off" switches task events off.
EVENTS = "CHAOS_EVENTS"
#: Returns to a queue before a batch is dead-lettered.
DELIVERY_LIMIT = "CHAOS_DELIVERY_LIMIT"

#: A seed keeps its sign bit when it is mixed with this many bits.
_SALT_MASK = 0x7FFF_FFFF


class Point(StrEnum):
    """Failpoints."""

    #: A worker has sent an attempt and noted it; nothing is committed.
    AFTER_PLAY = "after-play"
    #: A settlement that leaves a remainder is committed; its retry is not published.
    AFTER_COMMIT = "after-commit"
    #: The retry is published and confirmed; the message in hand is not acknowledged.
    AFTER_RETRY = "after-retry"
    #: The producer has recorded a group of batches and publishes one of them next.
    BEFORE_PUBLISH = "before-publish"
    #: The broker has confirmed a batch; the ledger does not know.
    AFTER_PUBLISH = "after-publish"


class Twice(StrEnum):
    """What is published twice."""

    FIRST_ATTEMPTS = "first-attempts"
    EVERYTHING = "everything"


def install() -> None:
    """Wrap what the environment asks for."""
    reach = failpoint(os.environ.get(FAILPOINT, ""))
    if seconds := float(os.environ.get(HOST_CLOCK, "0")):
        _be_elsewhere(MACHINE_CLOCK, seconds)
    if file := os.environ.get(CLOCK):
        _let_clock_be_set(MACHINE_CLOCK, Path(file))
    _let_outcomes_differ()
    if folder := os.environ.get(JOURNAL):
        keep_journal(Path(folder), reach)
    _wrap_settle(reach)
    _wrap_publish(reach, bool(os.environ.get(TWICE)))
    _wrap_retry(reach, os.environ.get(TWICE) == Twice.EVERYTHING)
    if limit := os.environ.get(DELIVERY_LIMIT):
        topology.DELIVERY_LIMIT = int(limit)
    if os.environ.get(EVENTS) == "off":
        app.conf.worker_send_task_events = False


def failpoint(spec: str) -> Callable[[Point], None]:
    """A function to call at each point: it ends the process at the one that `spec` names."""
    name, _, number = spec.partition(":")
    last = int(number or 1)
    times = itertools.count(1)

    def reach(point: Point) -> None:
        if point == name and next(times) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach


def _be_elsewhere(clock: Any, seconds: float) -> None:
    """The machine's clock was read before this module was; what it was off then is put right."""
    real = time.time
    time.time = lambda: real() + seconds
    clock.__init__()
    clock._boot = "elsewhere"


def _let_clock_be_set(clock: Any, file: Path) -> None:
    real = time.time
    time.time = lambda: real() + float(file.read_text())
    clock.__init__()


def _let_outcomes_differ() -> None:
    """Draws repeat for the same attempt, which would hide that two workers' outcomes got mixed.

    So each process draws its own; correctness must not rest on equal draws.
    """
    draw = gateway.SimulatedGateway.attempt
    salt = zlib.crc32(str(os.getpid()).encode()) & _SALT_MASK

    def attempt(self: gateway.SimulatedGateway, batch: Batch) -> Outcomes:
        return draw(self, batch.model_copy(update={"seed": batch.seed ^ salt}))

    gateway.SimulatedGateway.attempt = attempt  # type: ignore[method-assign]


def keep_journal(folder: Path, reach: Callable[[Point], None]) -> None:
    """Note every attempt when all its messages are sent, before anything is committed."""
    settlement_of = delivery.settlement_of
    file = os.open(
        folder / f"{os.getpid()}-{time.monotonic_ns()}.jsonl",
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    )

    def noted(batch: Batch, outcomes: Outcomes, *others: Any) -> Settlement:
        _ended_at, worker_id, *_ = others
        # One write: a killed process leaves whole lines.
        os.write(file, _journal_line(batch, outcomes, worker_id))
        reach(Point.AFTER_PLAY)
        return settlement_of(batch, outcomes, *others)

    delivery.settlement_of = noted  # type: ignore[assignment]


def _journal_line(batch: Batch, outcomes: Outcomes, worker_id: str) -> bytes:
    delivered = np.zeros(batch.size, np.bool_)
    delivered[batch.positions()[outcomes.delivered]] = True
    entry = {
        "worker": worker_id,
        "run": batch.run,
        "batch": batch.number,
        "attempt": batch.attempt,
        "first_index": batch.first_index,
        "size": batch.size,
        "taken": batch.offsets,
        "delivered": base64.b64encode(np.packbits(delivered).tobytes()).decode(),
    }
    return json.dumps(entry).encode() + b"\n"


def _wrap_settle(reach: Callable[[Point], None]) -> None:
    perform = process.Worker.perform

    def wrapped(self: process.Worker, effect: delivery.Effect) -> Any:
        answer = perform(self, effect)
        if isinstance(answer, Settled) and answer.remainder is not None:
            reach(Point.AFTER_COMMIT)
        return answer

    process.Worker.perform = wrapped  # type: ignore[method-assign]


def _wrap_publish(reach: Callable[[Point], None], twice: bool) -> None:
    publish = Publisher.publish

    def wrapped(self: Publisher, app: Celery, batch: Batch) -> None:
        reach(Point.BEFORE_PUBLISH)
        publish(self, app, batch)
        if twice:
            publish(self, app, batch)
        reach(Point.AFTER_PUBLISH)

    Publisher.publish = wrapped  # type: ignore[method-assign]


def _wrap_retry(reach: Callable[[Point], None], twice: bool) -> None:
    retry = Task.retry

    def wrapped(self: Task, *args: Any, **kwargs: Any) -> Any:
        result = retry(self, *args, **kwargs)
        if twice:
            result = retry(self, *args, **kwargs)
        reach(Point.AFTER_RETRY)
        return result

    Task.retry = wrapped
