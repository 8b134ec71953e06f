"""The parts of a rehearsal put together: in one process, and a producer for workers elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from sms_pipeline.cli import dispatch, parts, rehearsal
from sms_pipeline.cli.dispatch import produce, resume_elsewhere
from sms_pipeline.cli.rehearsal import resume_here, run_here
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import (
    ConfigError,
    LedgerUnavailableError,
    NeedsBrokerError,
    OutputError,
    PipelineError,
    ThresholdMissedError,
)
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Control, Run, Snapshot, WorkerRow
from sms_pipeline.core.routing import Load
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.background import Dispatch
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.views.reader import Reader
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.in_hand import threads_for
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.cli.inside import PATIENCE_SECONDS, Broker, Consumption, Screen

#: Both have their ledger in the current folder, which is empty.
INSIDE, WITH_BROKER = Settings(), Settings(broker_url="amqp://host//")

pytestmark = pytest.mark.usefixtures("process_kept")


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The broker of all of these tests."""
    broker = Broker()
    monkeypatch.setattr(parts, "Publisher", broker)
    return broker


@pytest.fixture
def consumers(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[Consumption]:
    """The workers in threads that were made."""
    return consume(broker, monkeypatch)


def consume(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, ends_at_once: bool = False
) -> list[Consumption]:
    made: list[Consumption] = []

    def make_one(*arguments: Any) -> Consumption:
        made.append(Consumption(broker, ends_at_once, *arguments))
        return made[-1]

    monkeypatch.setattr(rehearsal, "Consumption", make_one)
    return made


def simulation(**values: Any) -> Simulation:
    """Two instant profiles, and updates as often as can be."""
    profiles = [make.profile(name, mean_time=0, failure_rate=0) for name in ("fast", "slow")]
    return make.simulation(
        **{
            "senders": profiles,
            "num_messages": 40,
            "batch_size": 10,
            "report_period": 0.001,
            "retry": {"backoff": 0},
            **values,
        }
    )


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    """The producers that were told to stop."""
    stopped: list[Producer] = []
    stop = Producer.stop

    def note(producer: Producer) -> None:
        stopped.append(producer)
        stop(producer)

    monkeypatch.setattr(Producer, "stop", note)
    return stopped


# In one process


def test_run_is_dispatched_played_and_shown_to_its_end(
    ledger: Ledger, broker: Broker, consumers: list[Consumption]
) -> None:
    heard: list[int] = []

    def hear(batch: Batch, outcomes: Outcomes, positions: NDArray[np.intp]) -> None:
        heard.append(int(outcomes.delivered[positions].sum()))

    run_here(INSIDE, simulation(seed=11), view := Screen(), hear)
    # Then every message has its end, and the view has shown that
    run = ledger.run()
    assert (run.seed, run.embedded) == (11, True)
    assert ledger.snapshot(run).counts.delivered == sum(heard) == 40
    ((last, ended),) = view.closed
    assert last is not None
    assert (last.done, ended) == (True, "done")
    assert view.outcome is not None
    assert view.outcome.line == "Proven · 0 not reached"
    # And nobody is left behind
    (consumer,) = consumers
    assert ledger.workers() == ()
    assert pipeline.pipeline().worker.stopping.is_set()
    # A worker of that name and size, on queues of those profiles
    (worker,) = {row.id for row in ledger.all_workers()}
    assert consumer.node == worker
    assert consumer.concurrency == 2 * 51
    assert broker.opened == [("memory://localhost", ["fast", "slow"])]


def test_seed_is_drawn_where_none_is_given(
    ledger: Ledger, broker: Broker, consumers: list[Consumption]
) -> None:
    for _ in range(2):
        run_here(INSIDE, simulation(num_messages=1), Screen())
    first, second = (one.run for one in ledger.totals(2))
    assert first.seed != second.seed


def test_own_worker_counts_as_online_from_the_start_and_its_pool_is_shared(
    ledger: Ledger, consumers: list[Consumption], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[type, dict[str, Any]] = {}

    def noting(kind: type) -> Callable[..., Any]:
        def make_one(*arguments: Any, **options: Any) -> Any:
            made[kind] = options
            return kind(*arguments, **options)

        return make_one

    monkeypatch.setattr(rehearsal, "Loads", noting(Loads))
    monkeypatch.setattr(rehearsal, "Reader", noting(Reader))
    run_here(INSIDE, simulation(), Screen())
    # Nobody has to watch its heartbeat first, and no profile may fill the pool of all
    (worker,) = {row.id for row in ledger.all_workers()}
    assert made[Loads] == {"trusted": (worker,), "max_batches": threads_for}
    assert made[Reader] == {"trusted": (worker,)}


def test_consumer_inside_ends_with_the_process_and_says_nothing_of_it(
    consumers: list[Consumption],
) -> None:
    run_here(INSIDE, simulation(), Screen())
    assert not consumers[0].was_stopped
    assert not logging.getLogger("celery").isEnabledFor(logging.CRITICAL)


def test_consumer_of_a_broker_gives_back_what_it_holds(
    ledger: Ledger, consumers: list[Consumption]
) -> None:
    run_here(WITH_BROKER, simulation(), Screen())
    assert consumers[0].was_stopped
    assert logging.getLogger("celery").isEnabledFor(logging.CRITICAL)
    assert not ledger.run().embedded


def test_batches_that_would_take_too_long_are_refused_before_a_run_is_made(
    ledger: Ledger, broker: Broker
) -> None:
    endless = simulation(senders=[make.profile("fast", mean_time=86_400)])
    with pytest.raises(ConfigError, match="'fast'"):
        run_here(INSIDE, endless, Screen())
    assert ledger.totals(1) == []
    assert broker.opened == []


def test_worker_that_ends_by_itself_ends_the_rehearsal(
    ledger: Ledger, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    consume(broker, monkeypatch, ends_at_once=True)
    with pytest.raises(PipelineError, match="the worker ended before the run was done"):
        run_here(INSIDE, simulation(), view := Screen())
    assert [ended for _, ended in view.closed] == ["stopped"]
    assert ledger.workers() == ()


def test_producer_that_fails_ends_the_rehearsal_with_its_error(
    ledger: Ledger, consumers: list[Consumption], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dispatch(_: Producer) -> None:
        raise LedgerUnavailableError("the ledger is gone")

    monkeypatch.setattr(Producer, "dispatch", dispatch)
    with pytest.raises(LedgerUnavailableError, match="gone"):
        run_here(INSIDE, simulation(), view := Screen())
    assert [ended for _, ended in view.closed] == ["stopped"]
    assert ledger.workers() == ()


def test_user_who_stops_a_rehearsal_is_told_how_to_go_on(
    ledger: Ledger, broker: Broker, consumers: list[Consumption], stopped: list[Producer]
) -> None:
    # Given a broker that takes nothing, so that the run cannot end
    broker.confirms.clear()
    view = Screen()

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    view.on_show = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_here(INSIDE, simulation(), view)
    broker.confirms.set()
    ((last, ended),) = view.closed
    assert last is not None
    assert not last.done
    assert ended == "interrupted (resume it with: sms-pipeline resume 1)"
    assert ledger.workers() == ()
    # The producer ends with the batches in hand
    assert len(stopped) == 1
    wait_until(
        lambda: "producer" not in {thread.name for thread in threading.enumerate()},
        PATIENCE_SECONDS,
        "the producer has ended",
    )
    # Then the run can be finished
    resume_here(INSIDE, ledger, ledger.run(), True, Screen())
    assert ledger.snapshot(ledger.run()).done


def test_run_that_misses_a_threshold_is_an_error_at_its_end(
    ledger: Ledger, consumers: list[Consumption]
) -> None:
    strict = simulation(thresholds=[{"check": "delivered < 5%"}])
    with pytest.raises(ThresholdMissedError, match="delivered < 5%"):
        run_here(INSIDE, strict, view := Screen())
    assert [ended for _, ended in view.closed] == ["done"]


def test_run_that_misses_a_threshold_is_cancelled_if_that_is_asked_for(
    ledger: Ledger, broker: Broker, consumers: list[Consumption]
) -> None:
    # Given messages that all fail, and more than fit before that is seen
    strict = simulation(
        senders=[make.profile("fast", count=5, mean_time=0.001, failure_rate=1.0)],
        num_messages=100_000,
        retry={"max_attempts": 1},
        thresholds=[{"check": "failed < 1", "abort": True}],
    )
    with pytest.raises(ThresholdMissedError):
        run_here(INSIDE, strict, view := Screen())
    counts = ledger.snapshot(ledger.run()).counts
    assert counts.cancelled > 0
    assert "is cancelled" in "".join(view.notes)


# Resumed in one process


@pytest.fixture
def half(ledger: Ledger) -> Run:
    """A run inside a process that was killed: one batch settled, one recorded, two to come."""
    run = ledger.start_run(simulation(), seed=7, embedded=True)
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(2)])
    ledger.settle([make.settlement(run.id)])
    return ledger.run(run.id)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Who is online in other processes; to find that out takes seconds."""
    online: list[Any] = []
    monkeypatch.setattr(rehearsal, "online_workers", lambda _: online)
    return online


def test_rest_of_a_run_is_finished_here(
    ledger: Ledger,
    half: Run,
    broker: Broker,
    consumers: list[Consumption],
    nobody: list[Any],
) -> None:
    resume_here(INSIDE, ledger, half, False, view := Screen())
    # What was recorded first, then the rest, several at once
    first, *others = [batch.number for batch in broker.published]
    assert (first, sorted(others)) == (1, [2, 3])
    assert ledger.snapshot(half).counts.delivered == 40
    assert "run 1: 1 batch dispatched again" in view.notes
    assert [ended for _, ended in view.closed] == ["done"]


def test_run_that_may_still_be_going_on_is_not_resumed_unless_forced(
    ledger: Ledger,
    half: Run,
    broker: Broker,
    consumers: list[Consumption],
    nobody: list[Any],
) -> None:
    nobody.append(SimpleNamespace(row=make.worker("other")))
    with pytest.raises(PipelineError, match=r"worker other is online.*--force"):
        resume_here(INSIDE, ledger, half, False, Screen())
    assert broker.published == []
    resume_here(INSIDE, ledger, half, True, Screen())
    assert ledger.snapshot(half).done


def test_run_that_went_through_a_broker_is_not_finished_without_it(
    ledger: Ledger, broker: Broker
) -> None:
    run = ledger.start_run(simulation(), seed=7)
    with pytest.raises(NeedsBrokerError, match="CELERY_BROKER_URL"):
        resume_here(INSIDE, ledger, run, True, Screen())
    assert broker.opened == []


def test_run_whose_batches_take_too_long_is_not_resumed(ledger: Ledger, broker: Broker) -> None:
    endless = simulation(senders=[make.profile("fast", mean_time=86_400)])
    run = ledger.start_run(endless, seed=7, embedded=True)
    with pytest.raises(ConfigError, match="'fast'"):
        resume_here(INSIDE, ledger, run, True, Screen())
    assert broker.opened == []


# For workers elsewhere


def test_run_is_dispatched_and_how_far_is_told(
    ledger: Ledger, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    produce(WITH_BROKER, simulation(routing="static", report_period=60.0))
    out, _ = capsys.readouterr()
    first, *_, last = out.splitlines()
    assert first == "Run 1: 40 messages. Watch it: sms-pipeline monitor 1"
    assert last == "Run 1: 40 of 40 messages dispatched."
    assert sum(batch.count for batch in broker.published) == 40
    assert not ledger.run().embedded


@pytest.mark.parametrize(
    ("senders", "warnings"),
    [
        (simulation().profile("fast"), []),
        (
            make.profile("fast", count=99),
            [
                "Note: workers have other senders than the configuration, and the run goes by "
                "those: fast 99 at 0.1 s failing 10%."
            ],
        ),
    ],
)
def test_who_dispatches_is_told_where_workers_have_other_senders(
    senders: SenderProfile,
    warnings: list[str],
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Known(Loads):
        def read(self, snapshot: Snapshot, now: float) -> list[Load]:
            self.online = (WorkerRow.playing(senders, "w1"),)
            return super().read(snapshot, now)

    monkeypatch.setattr(dispatch, "Loads", Known)
    produce(WITH_BROKER, simulation(routing="static"))
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "other senders" in line] == warnings


def test_progress_of_a_dispatch_is_told_every_report_period(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.confirms.clear()
    said: list[str] = []

    def write(text: str) -> None:
        said.append(text)
        if text.startswith("dispatched"):
            broker.confirms.set()

    monkeypatch.setattr(dispatch, "write", write)
    produce(WITH_BROKER, simulation(routing="static"))
    _, *progress, last = said
    assert set(progress) <= {"dispatched 0 of 40", "dispatched 40 of 40"}
    assert progress
    assert last == "Run 1: 40 of 40 messages dispatched."


@pytest.mark.parametrize(
    "reason", [KeyboardInterrupt(), BrokenPipeError(), OutputError("the output can't be written")]
)
def test_who_ends_a_dispatch_is_told_how_to_go_on(
    reason: BaseException,
    broker: Broker,
    stopped: list[Producer],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Given a broker that confirms what it was given only when that is waited for
    class Waiting(Dispatch):
        def join(self, timeout: float | None = None) -> None:
            assert stopped
            broker.confirms.set()
            super().join(timeout)

    def interrupt(*_: object) -> None:
        raise reason

    broker.confirms.clear()
    monkeypatch.setattr(dispatch, "Dispatch", Waiting)
    monkeypatch.setattr(dispatch, "_print_progress", interrupt)
    with pytest.raises(type(reason)):
        produce(WITH_BROKER, simulation(routing="static"))
    # Then batches in hand are finished, and the producer ends
    assert "producer" not in {thread.name for thread in threading.enumerate()}
    assert len(stopped) == 1
    out, err = capsys.readouterr()
    told = out if isinstance(reason, KeyboardInterrupt) else err
    assert "Run 1 interrupted: " in told
    assert told.endswith("Dispatch the rest: sms-pipeline resume 1\n")


def test_dispatch_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Producer) -> None:
        raise LedgerUnavailableError("the ledger is gone")

    monkeypatch.setattr(Producer, "dispatch", fail)
    with pytest.raises(LedgerUnavailableError, match="gone"):
        produce(WITH_BROKER, simulation())
    assert "dispatched." not in capsys.readouterr().out


@pytest.mark.parametrize("force", [False, True])
def test_what_is_lost_is_dispatched_again_once_it_is_quiet(
    ledger: Ledger,
    half: Run,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    force: bool,
) -> None:
    # Given a batch that was put aside, and another run's
    bodies = [
        make.batch(10, number=1, ledger=ledger.id, run=run).to_wire() for run in (half.id, 99)
    ]
    broker.dead = [orjson.dumps([[body], {}, None]) for body in bodies]
    waited: list[Run] = []

    def await_quiet(_: Ledger, publisher: object, run: Run, say: object) -> None:
        assert publisher is broker
        assert broker.published == []
        waited.append(run)

    monkeypatch.setattr(dispatch, "await_quiet", await_quiet)
    resume_elsewhere(WITH_BROKER, ledger, half, force)
    assert waited == [half] * (not force)
    # What was recorded first, then the rest, several at once
    first, *others = [batch.number for batch in broker.published]
    assert (first, sorted(others)) == (1, [2, 3])
    assert len(broker.dead) == 1
    out, err = capsys.readouterr()
    warning, *said = err.splitlines()
    assert warning.startswith("Warning: the broker is on another host (host)")
    assert said[:2] == [
        "run 1: 1 batch taken from the dead-letter queue",
        "run 1: 1 batch dispatched again",
    ]
    assert out.endswith("Run 1: 40 of 40 messages dispatched.\n")


def test_nothing_is_said_of_dead_letters_where_there_are_none(
    ledger: Ledger, half: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.control(half.id, Control.CANCELLED)
    resume_elsewhere(WITH_BROKER, ledger, ledger.run(half.id), True)
    assert "dead-letter" not in capsys.readouterr().err
