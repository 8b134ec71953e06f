"""Everything a worker process needs before it starts to consume."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import click
from celery import Celery, signals

from sms_pipeline.broker import topology
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config import places
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.files import load_simulation, new_profile, override_profile
from sms_pipeline.config.settings import Settings, load_settings
from sms_pipeline.core.counts import how_many
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.playable import require_short_batches
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.opening import is_away
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.awaiting import Waiting, interruptible
from sms_pipeline.worker.echo import Echo
from sms_pipeline.worker.in_hand import Hands, threads_for
from sms_pipeline.worker.pipeline import Pipeline, install
from sms_pipeline.worker.probes import answer_probes
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.shutdown import DRAIN_SECONDS, require_drain
from sms_pipeline.worker.signs import Part
from sms_pipeline.worker.watchdog import Watchdog


def prepare(app: Celery, controller: Any, options: dict[str, Any]) -> None:
    """Check what the worker was started with, and install its pipeline.

    Args:
        app: the worker's app; its queues and its concurrency are set.
        controller: Celery's worker; its host name is made unique.
        options: of the command line.

    Raises:
        PipelineError: it can't be started; the message says why.
    """
    settings = load_settings()
    simulation = load_simulation(options.get("simulation_file") or settings.config)
    require_broker(settings)
    require_threads(options.get("pool"), sys.argv)
    _use_log_level(settings)
    profile = chosen_profile(simulation, options, settings)
    require_drain(drain := options.get("drain", DRAIN_SECONDS))
    batch_size = simulation.batch_size_for(profile)
    require_short_batches(profile, batch_size)
    if options.get("health") is not None:
        click.echo(f"Health: {answer_probes(options['health'])}", err=True)
    hands = Hands.of(threads_for(profile, batch_size), settings.queue_type)
    app.conf.worker_concurrency = hands.threads
    use_queues(app, [profile.name], settings.queue_type)
    if told := places.doubt(settings):
        click.echo(f"Warning: {told}", err=True)
    name = given_name(controller.hostname)
    worker = _start_pipeline(settings, [profile], drain, hands, options.get("echo", False), name)
    controller.hostname = worker.id


def use_queues(app: Celery, profiles: Iterable[str], queue_type: str) -> None:
    """Let the app know the queues of `profiles`, and no others."""
    app.conf.task_queues = topology.profile_queues(profiles, queue_type)
    app.amqp.queues = app.conf.task_queues


def require_broker(settings: Settings) -> None:
    why = "a worker in a terminal of its own needs a broker"
    settings.require_broker(why, ", or use 'sms-pipeline run'")


def require_threads(pool: Any, arguments: Sequence[str]) -> None:
    from celery.concurrency.thread import TaskPool

    # Celery takes an explicit `-P prefork` for the absence of a choice, so look for the words.
    spelled = " ".join(arguments).replace("=", " ")
    if pool in (None, TaskPool, "threads") and not any(
        word in spelled for word in ("-P prefork", "-Pprefork", "--pool prefork")
    ):
        return
    raise ConfigError(
        "option --pool: must be threads: all batches of a worker share one bank of senders, and "
        "other pools would give each process its own"
    )


def _use_log_level(settings: Settings) -> None:
    """SMS_LOG_LEVEL applies to workers, too, unless the option --loglevel is given."""
    context = click.get_current_context(silent=True)
    default = click.core.ParameterSource.DEFAULT
    if context and context.get_parameter_source("loglevel") is not default:
        return

    @signals.after_setup_logger.connect(weak=False)  # type: ignore[untyped-decorator]
    def set_level(logger: logging.Logger, **_: Any) -> None:
        logger.setLevel(settings.log_level)


def _start_pipeline(
    settings: Settings,
    profiles: Sequence[SenderProfile],
    drain: float,
    hands: Hands,
    echo: bool = False,
    name: str | None = None,
) -> Worker:
    names = [profile.name for profile in profiles]
    waiting = Waiting(partial(click.echo, err=True), MACHINE_CLOCK)
    with interruptible():
        # The ledger first: a URL that can't be used is told before anything is waited for.
        ledger = waiting.until_there(lambda: Ledger.open(settings.database_url))
        publisher = waiting.until_there(lambda: Publisher.open(settings, names))
        worker = Worker(ledger, profiles, echo=_printing() if echo else None, name=name)
        waiting.until_there(worker.start)
    install(Pipeline(worker, publisher, drain, hands.prefetch))
    excuses = {Part.LOOP: lambda: not publisher.answers(), Part.WRITER: lambda: is_away(ledger)}
    Watchdog(worker.signs, MACHINE_CLOCK, excuses).start()
    return worker


def chosen_profile(
    simulation: Simulation, options: dict[str, Any], settings: Settings | None = None
) -> SenderProfile:
    """The profile that options name, or else variables, with what they change of it.

    Raises:
        ConfigError: none is named, none has that name, or a value is not allowed.
    """
    settings = settings or Settings()
    name = options.get("profile") or settings.profile
    if not name:
        known = ", ".join(sender.name for sender in simulation.senders)
        raise ConfigError(f"option --profile (or SMS_PROFILE) is required: one of {known}")
    senders = options.get("senders")
    changes = {
        "count": settings.senders if senders is None else senders,
        "mean_time": options.get("mean_time"),
        "failure_rate": options.get("failure_rate"),
    }
    return override_profile(_named_profile(simulation, name, changes), _OPTION_OF, **changes)


#: The option that sets a key of a profile.
_OPTION_OF = {
    "count": "--senders",
    "mean_time": "--mean-time",
    "failure_rate": "--failure-rate",
}


def _named_profile(
    simulation: Simulation, name: str, changes: Mapping[str, object]
) -> SenderProfile:
    """The configured profile of that name; a new one if the options say all there is to say.

    Raises:
        ConfigError: there is none, and the options leave something open.
    """
    if any(sender.name == name for sender in simulation.senders):
        return simulation.profile(name)
    if None in changes.values():
        known = ", ".join(sender.name for sender in simulation.senders)
        raise ConfigError(
            f"unknown profile {name!r}: the configuration has {known}. Name the file that has it "
            "with --config or SMS_CONFIG; or give --senders, --mean-time and --failure-rate"
        )
    return new_profile(name)


def given_name(node: str) -> str | None:
    """The name that `-n` gave the worker, without its host; None if it gave none."""
    name = node.partition("@")[0]
    return None if name == "celery" else name


def ready_line(worker: Worker) -> str:
    """What a worker says when it takes batches."""
    senders = ", ".join(
        f"{how_many(profile.count, 'sender')} of profile {profile.name}"
        for profile in worker.profiles
    )
    return f"Ready: {worker.id} with {senders}"


def _printing() -> Echo:
    """To the real stdout: Celery takes what is printed for log lines."""
    printing = Echo(lambda line: print(line, file=sys.__stdout__, flush=True))
    printing.start()
    return printing
