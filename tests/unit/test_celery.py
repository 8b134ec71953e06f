"""What a worker takes in hand, and what it refuses to start with."""

from __future__ import annotations

import os
import re
import runpy
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from celery import signals
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.thread import TaskPool as ThreadPool
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline import celery
from sms_pipeline.broker import codec, memory, topology
from sms_pipeline.celery import app
from sms_pipeline.config.settings import Settings, load_settings
from sms_pipeline.core.batch import TASK_NAME
from sms_pipeline.core.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
    ConfigError,
    NeedsBrokerError,
    Terminated,
)
from sms_pipeline.core.playable import MAX_BATCH_SECONDS, require_short_batches
from sms_pipeline.core.profiles import MAX_BATCH_SIZE, SenderProfile
from sms_pipeline.core.routing import MAX_IN_HAND_SECONDS
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import pipeline, startup
from sms_pipeline.worker.consumer import GuardedConsumer
from sms_pipeline.worker.in_hand import threads_for
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.shutdown import DRAIN_SECONDS
from sms_pipeline.worker.startup import (
    chosen_profile,
    given_name,
    ready_line,
    require_broker,
    require_threads,
    use_queues,
)
from tests.unit import make

PROFILES = st.builds(
    make.profile,
    count=st.integers(1, 10_000_000),
    mean_time=st.one_of(st.just(0.0), st.floats(0.001, 1_000)),
)


# Threads


@pytest.mark.parametrize(
    ("count", "mean_time", "batch_size", "threads"),
    [
        (20, 0.05, 200, 51),
        (1, 1.0, 1, 53),
        (5_000, 1.0, 2_500, 56),
        (1_000_000, 1.0, 20_000, 200),
        (1_000_000, 1.0, 5_000, 650),
        (10_000_000, 1.0, 5_000, 1_000),
        (100, 0.0, 5_000, 51),
        # Only what its senders can work off in 20 minutes: ten batches of one message
        (1, 120.0, 1, 10),
        (1, 10_000.0, 1, 1),
    ],
)
def test_threads_follow_from_the_senders(
    count: int, mean_time: float, batch_size: int, threads: int
) -> None:
    assert threads_for(make.profile(count=count, mean_time=mean_time), batch_size) == threads


@settings(max_examples=100, deadline=None)
@given(PROFILES, st.integers(1, MAX_BATCH_SIZE))
def test_worker_never_takes_more_than_it_can_work_off(
    profile: SenderProfile, batch_size: int
) -> None:
    threads = threads_for(profile, batch_size)
    assert 1 <= threads <= 1_000
    in_time = threads * batch_size / profile.capacity <= MAX_IN_HAND_SECONDS * (1 + 1e-9)
    assert in_time or threads == 1


@settings(max_examples=100, deadline=None)
@given(PROFILES, st.integers(1, MAX_BATCH_SIZE))
def test_all_senders_can_be_busy(profile: SenderProfile, batch_size: int) -> None:
    threads = threads_for(profile, batch_size)
    limited = (
        profile.mean_time and threads + 1 > MAX_IN_HAND_SECONDS * profile.capacity / batch_size
    )
    assert threads * batch_size >= 3 * profile.count or threads == 1_000 or limited


# Batches that take too long


@pytest.mark.parametrize(
    ("count", "mean_time", "batch_size"), [(1, 0.0, 5_000), (10, 1.0, 5_000), (1, 600.0, 1)]
)
def test_batches_that_end_in_time_are_allowed(
    count: int, mean_time: float, batch_size: int
) -> None:
    require_short_batches(make.profile(count=count, mean_time=mean_time), batch_size)


@settings(max_examples=100, deadline=None)
@given(PROFILES, st.integers(1, MAX_BATCH_SIZE))
def test_refusal_names_numbers_that_would_do(profile: SenderProfile, batch_size: int) -> None:
    try:
        require_short_batches(profile, batch_size)
    except ConfigError as error:
        message = str(error)
    else:
        assert batch_size / profile.capacity <= MAX_BATCH_SECONDS
        return
    assert "\n" not in message
    assert repr(profile.name) in message
    advice = message.partition("use at least ")[2]
    senders, size = int(advice.split()[0]), int(advice.split()[-1])
    require_short_batches(profile.model_copy(update={"count": senders}), batch_size)
    if profile.mean_time <= MAX_BATCH_SECONDS:
        require_short_batches(profile, size)


def test_advice_for_a_single_slow_sender() -> None:
    with pytest.raises(ConfigError, match=r"at least 9 senders or batch_size 600$"):
        require_short_batches(make.profile(count=1, mean_time=1.0), 5_000)


# The pool


@pytest.mark.parametrize("pool", [None, ThreadPool, "threads"])
def test_threads_are_the_pool(pool: Any) -> None:
    require_threads(pool, ["celery", "worker", "-P", "threads", "--profile", "fast"])


@pytest.mark.parametrize(
    ("pool", "arguments"),
    [
        (PreforkPool, []),
        ("solo", ["-P", "solo"]),
        ("gevent", ["--pool=gevent"]),
        (None, ["-P", "prefork"]),
        (None, ["-Pprefork"]),
        (None, ["-P=prefork"]),
        (None, ["--pool", "prefork"]),
        (None, ["--pool=prefork"]),
    ],
)
def test_other_pools_are_refused(pool: Any, arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="option --pool: must be threads"):
        require_threads(pool, ["celery", "worker", *arguments])


# The worker's options


def test_profile_is_required_and_those_there_are_named() -> None:
    with pytest.raises(ConfigError, match="is required: one of fast, standard, slow"):
        chosen_profile(Simulation(), {})


def test_options_change_the_profile() -> None:
    options = {"profile": "slow", "senders": 7, "mean_time": 0.5, "failure_rate": None}
    chosen = chosen_profile(Simulation(), options)
    assert (chosen.name, chosen.count, chosen.mean_time) == ("slow", 7, 0.5)
    assert chosen.failure_rate == 0.2


@pytest.mark.parametrize(
    "options", [{"senders": 0}, {"mean_time": -1.0}, {"failure_rate": 2.0}, {"profile": "fats"}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        chosen_profile(Simulation(), {"profile": "fast", **options})


@pytest.mark.parametrize(("node", "name"), [("mine@host", "mine"), ("celery@host", None)])
def test_a_name_that_is_given_is_kept(node: str, name: str | None) -> None:
    assert given_name(node) == name


def test_a_worker_has_a_name_of_its_own_and_says_what_it_has(ledger: Ledger) -> None:
    fast = make.profile("fast", count=1_500)
    first, second = Worker(ledger, [fast]), Worker(ledger, [fast])
    assert first.id != second.id
    assert first.id.startswith("fast-")
    assert first.id.endswith(f"@{socket.gethostname()}")
    assert Worker(ledger, [fast], name="mine").id.startswith("mine-")
    line = ready_line(first)
    assert line == f"Ready: {first.id} with 1,500 senders of profile fast"
    both = Worker(ledger, [make.profile("fast", count=2), make.profile("slow", count=1)])
    assert both.id.startswith("run-")
    assert ready_line(both).endswith(" with 2 senders of profile fast, 1 sender of profile slow")


def test_worker_without_a_broker_is_refused(clean: object) -> None:
    with pytest.raises(NeedsBrokerError, match="CELERY_BROKER_URL"):
        require_broker(load_settings({}))
    require_broker(load_settings({"CELERY_BROKER_URL": "amqp://host"}))


# The app


def test_app_knows_the_queues_it_was_told_of_and_the_one_task() -> None:
    before = list(app.conf.task_queues or [])
    try:
        use_queues(app, ["old"], "quorum")
        assert set(app.amqp.queues) == {"sms.old", "sms.old.urgent"}
        use_queues(app, ["fast", "slow"], "quorum")
        assert set(app.amqp.queues) == set(topology.queue_names(["fast", "slow"]))
        with pytest.raises(KeyError):
            app.amqp.queues["sms.fats"]
    finally:
        app.conf.task_queues = app.amqp.queues = before
    app.loader.import_default_modules()
    assert [name for name in app.tasks if name.startswith("sms_pipeline.")] == [TASK_NAME]


# Flower


def test_flower_stays_on_this_machine_unless_it_is_told_otherwise() -> None:
    environment = {"FLOWER_MAX_TASKS": "7"}
    celery.use_flower_defaults(["celery", "-A", "sms_pipeline", "flower"], environment)
    assert environment["FLOWER_ADDRESS"] == "127.0.0.1"
    assert environment["FLOWER_MAX_TASKS"] == "7"


def test_other_commands_have_no_variables_of_flower() -> None:
    environment: dict[str, str] = {}
    celery.use_flower_defaults(["celery", "-A", "sms_pipeline", "worker"], environment)
    assert environment == {}


def test_flower_without_a_broker_says_so() -> None:
    words = ["celery", "-A", "sms_pipeline", "flower"]
    inside = Settings()
    with pytest.raises(NeedsBrokerError, match="needs a broker: set CELERY_BROKER_URL"):
        celery.require_broker_of_flower(words, inside)
    celery.require_broker_of_flower([*words, "--help"], inside)
    celery.require_broker_of_flower(["pytest", "-k", "flower"], inside)
    celery.require_broker_of_flower(words, Settings(broker_url="amqp://localhost"))


def test_flower_knows_its_variables_and_columns() -> None:
    from flower.options import default_options
    from flower.views.tasks import visible_task_columns

    names = {name.removeprefix("FLOWER_").lower() for name in celery._FLOWER_DEFAULTS}
    assert all(name in default_options for name in names)
    columns = celery._FLOWER_DEFAULTS["FLOWER_TASKS_COLUMNS"].split(",")
    assert [name for name, _ in visible_task_columns(",".join(columns))] == columns


# Where Celery and the pipeline meet


@pytest.fixture
def _app_kept() -> Iterator[None]:
    """The app of this process stays the current one, whatever else is made."""
    yield
    app.set_current()


@pytest.mark.usefixtures("_app_kept")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SMS_QUEUE_TYPE", "fast", ["celery"]),
        ("CELERY_BROKER_URL", "", ["celery", "-A", "sms_pipeline", "flower"]),
    ],
)
def test_app_with_settings_that_are_wrong_ends_in_one_line(
    clean: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    words: list[str],
) -> None:
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("FLOWER_ADDRESS", "127.0.0.1")
    monkeypatch.setattr(celery, "_FLOWER_DEFAULTS", {})
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(celery.__file__)
    assert end.value.code == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"Error: [^\n]*{name}[^\n]*\n", err)


@pytest.mark.usefixtures("_app_kept")
@pytest.mark.parametrize(("command", "address"), [("flower", "127.0.0.1"), ("worker", None)])
def test_process_is_set_up_before_its_app_is_made(
    monkeypatch: pytest.MonkeyPatch, command: str, address: str | None
) -> None:
    done: list[str] = []
    monkeypatch.setattr(codec, "install", lambda: done.append("codec"))
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: done.append("memory"))
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "argv", ["celery", "-A", "sms_pipeline", command])
    celery._make_app()
    assert sorted(done) == ["codec", "memory"]
    assert os.environ.get("FLOWER_ADDRESS") == address


def test_worker_of_the_app_is_made_of_our_parts() -> None:
    worker = app.WorkController(hostname="test@here")
    assert isinstance(worker.consumer, GuardedConsumer)
    assert worker.pool_cls is ThreadPool
    # What waits stays free for other workers, and Flower sees what goes on
    assert (worker.prefetch_multiplier, worker.task_events) == (1, True)
    # A broker that is away is waited for, and one that hangs is noticed
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_channel_error_retry
    assert app.conf.broker_heartbeat <= 60
    assert not app.conf.worker_enable_prefetch_count_reduction


def test_worker_that_cannot_start_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(*arguments: object) -> None:
        seen.append(arguments)
        raise ConfigError("option --profile is required")

    seen: list[tuple[object, ...]] = []
    monkeypatch.setattr(startup, "prepare", prepare)
    with pytest.raises(SystemExit) as end:
        signals.celeryd_init.send(sender="host", instance="worker", conf=None, options={"a": 1})
    assert end.value.code == EXIT_USAGE
    assert capsys.readouterr().err == "Error: option --profile is required\n"
    assert seen == [(app, "worker", {"a": 1})]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (
            TypeError("prepare_threshold\nmust be a number"),
            EXIT_FAILURE,
            "Error: the worker can't start: TypeError: prepare_threshold\n",
        ),
        (RuntimeError(), EXIT_FAILURE, "Error: the worker can't start: RuntimeError\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
        (Terminated(), EXIT_TERMINATED, ""),
    ],
)
def test_worker_that_is_not_set_up_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    told: str,
) -> None:
    # Celery only logs what its receivers raise, and goes on without what they should have done.
    def prepare(*_: object) -> None:
        raise error

    monkeypatch.setattr(startup, "prepare", prepare)
    with pytest.raises(SystemExit) as end:
        signals.celeryd_init.send(sender="host", instance="worker", conf=None, options={})
    assert end.value.code == code
    assert capsys.readouterr().err == told


#: A worker, as far as it is told of.
ONE = SimpleNamespace(id="fast-1-ab@box", profiles=[make.profile("fast")])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Whose signals were taken over, and how long a shutdown waits: (consumer, worker, drain)."""
    installed: list[tuple[object, ...]] = []

    class FakeShutdown:
        def __init__(self, *parts: object, drain: float) -> None:
            self._parts = (*parts, drain)

        def install(self) -> None:
            installed.append(self._parts)

    monkeypatch.setattr(celery, "Shutdown", FakeShutdown)
    monkeypatch.setattr(pipeline, "_installed", [SimpleNamespace(worker=ONE, drain=2.5)])
    return installed


def test_worker_process_takes_its_signals_over_when_it_is_ready(
    installed: list[tuple[object, ...]],
) -> None:
    signals.worker_ready.send(sender="consumer")
    assert installed == [("consumer", ONE, 2.5)]


def test_worker_in_a_thread_has_no_signals_of_its_own(
    installed: list[tuple[object, ...]],
) -> None:
    thread = threading.Thread(target=lambda: signals.worker_ready.send(sender="consumer"))
    thread.start()
    thread.join()
    assert installed == []


def test_worker_signs_off_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(pipeline, "stop", lambda: stopped.append("stop"))
    signals.worker_shutdown.send(sender=None)
    assert stopped == ["stop"]


def test_worker_has_the_options_of_its_profile() -> None:
    command = click.Command("worker", params=list(app.user_options["worker"]))
    words = "--profile fast --senders 7 --mean-time 0.5 --failure-rate 0.25 --config a.yaml"
    words += " --drain 5 --health 0.0.0.0:8081"
    given = command.make_context("worker", words.split()).params
    assert given == {
        "profile": "fast",
        "senders": 7,
        "mean_time": 0.5,
        "failure_rate": 0.25,
        "simulation_file": Path("a.yaml"),
        "echo": False,
        "drain": 5.0,
        "health": "0.0.0.0:8081",
    }
    left = command.make_context("worker", []).params
    assert left.pop("echo") is False
    assert left.pop("drain") == DRAIN_SECONDS
    assert set(left.values()) == {None}
