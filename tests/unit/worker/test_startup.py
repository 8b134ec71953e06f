"""What a worker does between its command line and its first batch."""

from __future__ import annotations

import io
import logging
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from celery import Celery, signals

from sms_pipeline.config.settings import Settings
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    ConfigError,
    NeedsBrokerError,
    PipelineError,
)
from sms_pipeline.core.failover import Failover
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.patience import Pauses
from sms_pipeline.core.playable import require_playable, require_short_batches
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import awaiting, pipeline, startup
from sms_pipeline.worker.delivery import Play
from sms_pipeline.worker.watchdog import Watchdog
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.worker.fakes import aside

pytestmark = pytest.mark.usefixtures("_no_pipeline", "_own_signals", "_no_watchdog")

PATIENCE_SECONDS = 30
BROKER_URL = "amqp://user:secret@localhost//"


@pytest.fixture
def _own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens to Celery's signals for a test does so no longer afterwards."""
    for signal in (signals.after_setup_logger, signals.worker_ready, signals.worker_shutdown):
        monkeypatch.setattr(signal, "receivers", [])


@pytest.fixture
def _no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog looks until its process ends; `tests/functional/test_watchdog.py` lets it."""
    monkeypatch.setattr(Watchdog, "start", lambda _: None)


class Broker:
    """Stands in for the class `Publisher`: notes who connects, and for which queues."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, list[str]]] = []
        self.refuses = False
        self.away_for = 0

    def open(self, settings: Settings, profiles: Iterable[str]) -> Broker:
        if self.refuses:
            raise BrokerRefusedError("the broker knows no such user")
        if self.away_for:
            self.away_for -= 1
            raise BrokerUnavailableError("the broker is away")
        self.opened.append((settings.broker_url, list(profiles)))
        return self


class Setting:
    """The command line and the environment of a worker; what is not named is in order."""

    def __init__(self, app: Celery, broker: Broker, folder: Path) -> None:
        self.app = app
        self.broker = broker
        self.folder = folder
        self.controller = SimpleNamespace(hostname="celery@host")
        self.options: dict[str, Any] = {"profile": "fast", "pool": "threads"}

    def prepare(self) -> None:
        startup.prepare(self.app, self.controller, self.options)

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text)
        return file


@pytest.fixture
def setting(app: Celery, clean: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Setting:
    broker = Broker()
    monkeypatch.setattr(startup, "Publisher", broker)
    monkeypatch.setattr(sys, "argv", ["celery", "-A", "sms_pipeline", "worker"])
    monkeypatch.setenv("CELERY_BROKER_URL", BROKER_URL)
    monkeypatch.setenv("SMS_DATABASE_URL", ledger_url)
    return Setting(app, broker, clean)


def test_worker_that_can_start_knows_all_it_needs(setting: Setting, ledger: Ledger) -> None:
    setting.prepare()
    # Its name and its broker
    assert setting.controller.hostname == pipeline.pipeline().worker.id
    assert setting.controller.hostname.startswith("fast-")
    assert setting.broker.opened == [(BROKER_URL, ["fast"])]
    # Its queues, and no others
    queue, urgent = setting.app.amqp.queues.values()
    assert (queue.name, queue.queue_arguments["x-queue-type"]) == ("sms.fast", "quorum")
    assert (urgent.name, urgent.queue_arguments["x-queue-type"]) == ("sms.fast.urgent", "quorum")
    # Its senders and its ledger
    parts = pipeline.pipeline()
    assert parts.publisher is setting.broker  # type: ignore[comparison-overlap]
    assert [(row.id, row.profile, row.senders) for row in ledger.workers()] == [
        (parts.worker.id, "fast", 20)
    ]
    parts.worker.stop()


def test_worker_with_a_file_here_and_a_broker_elsewhere_is_doubted(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://user:secret@elsewhere//")
    setting.prepare()
    told = capsys.readouterr().err
    assert told.startswith("Warning: the broker is on another host (elsewhere), but the ledger is")
    assert "secret" not in told
    pipeline.pipeline().worker.stop()


def test_options_and_variables_are_heeded(
    setting: Setting, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a file in the environment, another on the command line, and options beside it
    monkeypatch.setenv("SMS_CONFIG", str(setting.write("unused.yaml", "batch_size: 1")))
    monkeypatch.setenv("SMS_QUEUE_TYPE", "classic")
    setting.options |= {
        "simulation_file": setting.write(
            "used.yaml", "batch_size: 2\nsenders: [{name: mine, mean_time: 1, failure_rate: 0}]"
        ),
        "profile": "mine",
        "senders": 4,
    }
    setting.controller.hostname = "given@host"
    setting.prepare()
    pipeline.stop()
    # Then as many batches are taken in hand as four senders can work on
    assert setting.app.conf.worker_concurrency == 3 * 4 / 2 + 50
    assert [row.senders for row in ledger.all_workers()] == [4]
    queue, urgent = setting.app.amqp.queues.values()
    assert (queue.name, queue.queue_arguments["x-queue-type"]) == ("sms.mine", "classic")
    assert urgent.name == "sms.mine.urgent"
    assert setting.controller.hostname.startswith("given-")
    assert setting.controller.hostname == pipeline.pipeline().worker.id


def test_file_of_the_environment_is_heeded(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_CONFIG", str(setting.write("used.yaml", "batch_size: 1")))
    setting.prepare()
    pipeline.stop()
    # As many again for urgent batches
    assert setting.app.conf.worker_concurrency == 2 * (3 * 20 + 50)
    assert pipeline.pipeline().prefetch == 3 * 20 + 50


def test_problems_are_told_one_after_the_other_and_nothing_is_begun(
    setting: Setting, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker with which everything is wrong
    setting.options = {"pool": "prefork", "simulation_file": setting.folder / "none.yaml"}
    setting.broker.refuses = True
    for name, value in [
        ("SMS_QUEUE_TYPE", "fast"),
        ("CELERY_BROKER_URL", ""),
        ("SMS_DATABASE_URL", "mysql://host"),
    ]:
        monkeypatch.setenv(name, value)
    told = []

    def try_again() -> None:
        with pytest.raises(PipelineError) as problem:
            setting.prepare()
        told.append(str(problem.value))

    # When its user mends what was told, and tries again
    try_again()
    monkeypatch.delenv("SMS_QUEUE_TYPE")
    try_again()
    del setting.options["simulation_file"]
    try_again()
    monkeypatch.setenv("CELERY_BROKER_URL", BROKER_URL)
    try_again()
    setting.options["pool"] = "threads"
    try_again()
    setting.options |= {"profile": "fast", "senders": 1, "mean_time": 86_400}
    try_again()
    untouched = list(setting.app.amqp.queues), setting.controller.hostname
    setting.options |= {"senders": None, "mean_time": None}
    try_again()
    monkeypatch.setenv("SMS_DATABASE_URL", ledger_url)
    try_again()
    # Then what can be told without a connection comes first
    for message, part in zip(
        told,
        [
            "SMS_QUEUE_TYPE",
            "none.yaml",
            "CELERY_BROKER_URL",
            "--pool",
            "--profile",
            "use at least",
            "SMS_DATABASE_URL",
            "no such user",
        ],
        strict=True,
    ):
        assert part in message
    assert untouched == (["sms.fast", "sms.fast.urgent"], "celery@host")
    assert pipeline._installed == []
    setting.broker.refuses = False
    setting.prepare()
    pipeline.stop()


@pytest.mark.parametrize("seconds", [-0.1, 1_201.0, math.inf, math.nan])
def test_drain_that_makes_no_sense_is_refused(setting: Setting, seconds: float) -> None:
    setting.options["drain"] = seconds
    with pytest.raises(ConfigError, match=r"^option --drain: must be 0 to 1200 seconds, got "):
        setting.prepare()


def test_drain_is_kept_for_the_shutdown(setting: Setting) -> None:
    setting.options["drain"] = 2.5
    setting.prepare()
    assert pipeline.pipeline().drain == 2.5
    pipeline.stop()


def test_health_is_told_before_the_ledger_is_reached_and_until_the_end(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a broker that refuses
    file = setting.folder / "health.json"
    setting.options["health"] = str(file)
    setting.broker.refuses = True
    with pytest.raises(BrokerRefusedError):
        setting.prepare()
    assert capsys.readouterr().err == f"Health: {file}\n"
    assert '"the worker is starting"' in file.read_text()
    # When the worker ends, the file is gone
    signals.worker_shutdown.send(sender=None)
    assert not file.exists()


def test_broker_that_is_away_is_waited_for(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(awaiting, "_PAUSES", Pauses(0.001, 0.001))
    setting.broker.away_for = 3
    setting.prepare()
    pipeline.stop()
    assert len(setting.broker.opened) == 1
    assert capsys.readouterr().err == "Waiting: the broker is away\n"


def test_words_of_the_command_line_tell_the_pool(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Celery takes an explicit `-P prefork` for the absence of a choice.
    monkeypatch.setattr(sys, "argv", ["celery", "worker", "-P", "prefork"])
    setting.options["pool"] = None
    with pytest.raises(PipelineError, match="--pool"):
        setting.prepare()


# How much a worker says


def level_set_up() -> int:
    """The level that Celery's logger gets, which has INFO by Celery."""
    logger = logging.Logger("celery of a test", logging.INFO)
    signals.after_setup_logger.send(sender=None, logger=logger, loglevel=logging.INFO)
    return logger.level


def start(setting: Setting, *words: str) -> None:
    """Start a worker as Celery's command line does."""

    @click.command()
    @click.option("--loglevel", default="WARNING")
    def worker(loglevel: str) -> None:
        setting.prepare()

    worker.main([*words], standalone_mode=False)
    pipeline.stop()


@pytest.mark.parametrize(
    ("words", "level"), [([], logging.ERROR), (["--loglevel", "INFO"], logging.INFO)]
)
def test_log_level_of_the_environment_counts_unless_the_command_line_has_one(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, words: list[str], level: int
) -> None:
    monkeypatch.setenv("SMS_LOG_LEVEL", "error")
    start(setting, *words)
    assert level_set_up() == level


def test_log_level_of_the_environment_counts_without_a_command_line() -> None:
    # In a thread there is none, even if there is one around the tests
    aside(startup._use_log_level, Settings(log_level="ERROR")).result(PATIENCE_SECONDS)
    assert level_set_up() == logging.ERROR


# What is wrong with a profile


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"senders": 0}, "^--senders: .*got 0"),
        ({"mean_time": -1.0}, "^--mean-time: .*got -1"),
        ({"failure_rate": 2.0}, "^--failure-rate: .*got 2"),
        ({"profile": "fats"}, "'fats'.*fast, standard, slow"),
        ({"profile": ""}, r"--profile \(or SMS_PROFILE\) is required: one of fast, standard, slow"),
    ],
)
def test_option_that_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        startup.chosen_profile(Simulation(), {"profile": "fast", **options})


@pytest.mark.parametrize(
    ("options", "name", "senders"),
    [({}, "slow", 9), ({"profile": "fast"}, "fast", 9), ({"senders": 3}, "slow", 3)],
)
def test_variables_say_what_options_do_not(
    options: dict[str, Any], name: str, senders: int
) -> None:
    chosen = startup.chosen_profile(Simulation(), options, Settings(profile="slow", senders=9))
    assert (chosen.name, chosen.count) == (name, senders)


def test_no_senders_are_refused_even_if_a_variable_has_some() -> None:
    with pytest.raises(ConfigError, match=r"^--senders: "):
        startup.chosen_profile(Simulation(), {"senders": 0}, Settings(profile="slow", senders=9))


def test_worker_without_a_broker_is_told_what_to_set() -> None:
    with pytest.raises(NeedsBrokerError) as problem:
        startup.require_broker(Settings())
    assert str(problem.value) == (
        "a worker in a terminal of its own needs a broker: set "
        "CELERY_BROKER_URL=amqp://USER:PASSWORD@HOST, or use 'sms-pipeline run'"
    )


def test_pool_that_is_not_threads_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError) as problem:
        startup.require_threads("solo", [])
    assert str(problem.value) == (
        "option --pool: must be threads: all batches of a worker share one bank of senders, and "
        "other pools would give each process its own"
    )


def test_batch_of_one_message_is_advised_where_two_would_take_too_long() -> None:
    slow = make.profile(count=1, mean_time=400.0)
    with pytest.raises(ConfigError, match=r"at least 2 senders or batch_size 1$"):
        require_short_batches(slow, 2)
    require_short_batches(slow, 1)


def test_what_a_profile_is_handed_must_not_take_it_too_long() -> None:
    # Given senders whose batches have thousands of messages, and one that sends one a second
    senders = (make.profile("fast", count=1_000), make.profile("slow", count=1, mean_time=1.0))
    for failover in (None, Failover()):
        simulation = make.simulation(senders=senders, num_messages=10**6, failover=failover)
        require_playable(simulation)
    handed = simulation.model_copy(update={"failover": Failover(attempts=1, to="slow")})
    with pytest.raises(ConfigError, match=r"^profile 'slow': 1 sender at 1 s needs "):
        require_playable(handed)


def test_options_that_are_not_given_leave_the_profile_as_it_is() -> None:
    profile = Simulation().profile("slow")
    assert startup.chosen_profile(Simulation(), {"profile": "slow"}) == profile
    changed = startup.chosen_profile(
        Simulation(), {"profile": "slow", "senders": 7, "mean_time": 0.5, "failure_rate": 0.25}
    )
    assert changed == profile.model_copy(
        update={"count": 7, "mean_time": 0.5, "failure_rate": 0.25}
    )


NEW = {"profile": "brandnew", "senders": 5, "mean_time": 0.01, "failure_rate": 0.0}


def test_profile_that_no_file_knows_is_what_the_options_say() -> None:
    found = startup.chosen_profile(Simulation(), NEW)
    assert (found.name, found.count, found.mean_time, found.failure_rate) == (
        "brandnew",
        5,
        0.01,
        0.0,
    )


@pytest.mark.parametrize("missing", ["senders", "mean_time", "failure_rate"])
def test_profile_that_no_file_knows_needs_all_options(missing: str) -> None:
    with pytest.raises(ConfigError) as told:
        startup.chosen_profile(Simulation(), NEW | {missing: None})
    assert str(told.value) == (
        "unknown profile 'brandnew': the configuration has fast, standard, slow. "
        "Name the file that has it with --config or SMS_CONFIG; "
        "or give --senders, --mean-time and --failure-rate"
    )


@pytest.mark.parametrize("values", [{"profile": "no.dots"}, {"failure_rate": 2.0}, {"senders": 0}])
def test_new_profile_is_checked_like_any_other(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        startup.chosen_profile(Simulation(), NEW | values)


# The messages themselves


@pytest.mark.parametrize(
    ("options", "is_echoed"), [({"echo": True}, True), ({"echo": False}, False), ({}, False)]
)
def test_messages_are_printed_where_that_is_asked_for(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], is_echoed: bool
) -> None:
    echoed: list[Batch] = []

    def echo(batch: Batch, *_: object) -> None:
        echoed.append(batch)

    monkeypatch.setattr(startup, "_printing", lambda: echo)
    setting.options |= {"mean_time": 0.0, **options}
    setting.prepare()
    batch = make.batch(2)
    pipeline.pipeline().worker.perform(Play(batch, math.inf))
    pipeline.stop()
    assert echoed == [batch] * is_echoed


def test_messages_go_to_the_real_output_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Celery makes log lines of what is printed to `sys.stdout`
    class Output(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    output = Output()
    monkeypatch.setattr(sys, "__stdout__", output)
    outcomes = Outcomes(np.ones(2), np.ones(2, np.bool_))
    startup._printing()(make.batch(2, to="1\n2", text="go\nhome"), outcomes, np.array([0, 1]))
    lines = "delivered: 1  go\ndelivered: 2  home\n"
    wait_until(lambda: output.flushed == lines, PATIENCE_SECONDS, "both are printed")
