"""The Celery app, the worker's own options, and what a worker process is made of."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from celery import Celery, signals

from sms_pipeline.broker import codec, memory, topology
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.simulation import (
    SenderProfile,
    Settings,
    Simulation,
    load_settings,
    load_simulation,
    override_profile,
)
from sms_pipeline.errors import ConfigError, NeedsBrokerError, PipelineError
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.shutdown import Shutdown

#: Threads that wait for a batch's last message or hold a remainder's publish.
_SPARE_THREADS = 50
#: Batches that senders can work on at once: one in play, one ahead, one whose tail is ending.
_BATCHES_AT_ONCE = 3
_MAX_THREADS = 1_000
#: RabbitMQ closes the channel of a delivery held for 30 minutes. One batch must need far less…
MAX_BATCH_SECONDS = 600.0
#: … and so must all that a worker takes in hand.
MAX_IN_HAND_SECONDS = 1_200.0

#: Settings whose change would silently break a promise. Another celeryconfig.py in the current
#: folder replaces ours, so a worker checks them at start.
_REQUIRED_SETTINGS = {
    "task_acks_late": True,
    "task_acks_on_failure": False,
    "task_create_missing_queues": False,
    "task_serializer": "json",
    "worker_enable_prefetch_count_reduction": False,
    "worker_consumer": "sms_pipeline.worker.consumer:GuardedConsumer",
    "broker_channel_error_retry": True,
}


#: What `celery -A sms_pipeline flower` starts with, unless it is told otherwise by variables of its
#: own or by options. Flower would listen on every interface, without a password.
_FLOWER_DEFAULTS = {
    "FLOWER_ADDRESS": "127.0.0.1",
    "FLOWER_MAX_TASKS": "10000",
    # Without the task's name, for there is one task.
    "FLOWER_TASKS_COLUMNS": "args,state,retries,worker,received,runtime,uuid",
}

#: How the result of an attempt begins whose remainder is retried.
RETRIED = "retried as "


class Pipeline(NamedTuple):
    """What tasks of this process work with."""

    worker: Worker
    publisher: Publisher


_installed: list[Pipeline] = []


def install(pipeline: Pipeline) -> None:
    """Make `pipeline` the one that this process's tasks use."""
    _installed[:] = [pipeline]


def pipeline() -> Pipeline:
    """The installed pipeline; in eager mode one is made at first use, with every profile."""
    if not _installed:
        settings = load_settings()
        simulation = load_simulation(settings.config)
        worker = Worker(Ledger.open(settings.database_url), simulation.senders)
        worker.start()
        install(Pipeline(worker, Publisher(settings.broker_url)))
    return _installed[0]


def threads_for(profile: SenderProfile, batch_size: int) -> int:
    """Batches that a worker takes in hand: clamp(3 * senders / batch + 50, 1, 1000).

    Never more than its senders can work off in `MAX_IN_HAND_SECONDS`.
    """
    wanted = -(-_BATCHES_AT_ONCE * profile.count // batch_size) + _SPARE_THREADS
    in_time = _MAX_THREADS
    if profile.mean_time:
        in_time = int(MAX_IN_HAND_SECONDS * profile.capacity / batch_size)
    return max(1, min(wanted, in_time, _MAX_THREADS))


def require_short_batches(profile: SenderProfile, batch_size: int) -> None:
    """Refuse senders that would hold one batch for more than `MAX_BATCH_SECONDS`.

    Raises:
        ConfigError: they would; the message says which numbers would do.
    """
    seconds = batch_size / profile.capacity
    if seconds <= MAX_BATCH_SECONDS:
        return
    senders = -(-batch_size * profile.mean_time // MAX_BATCH_SECONDS)
    fitting = max(1, int(MAX_BATCH_SECONDS * profile.capacity))
    raise ConfigError(
        f"profile {profile.name!r}: {profile.count} senders at {profile.mean_time:g} s need "
        f"{seconds:,.0f} s for a batch of {batch_size}, more than the {MAX_BATCH_SECONDS:.0f} s a "
        f"broker lets a message wait; use at least {senders:.0f} senders or batch_size {fitting}"
    )


def use_queues(profiles: Iterable[str], queue_type: str) -> None:
    """Let the app know the queues of `profiles`, and no others."""
    app.conf.task_queues = topology.profile_queues(profiles, queue_type)
    app.amqp.queues = app.conf.task_queues


def exit_with(error: PipelineError) -> None:
    """One line on stderr, and the error's exit code."""
    click.echo(f"Error: {error}", err=True)
    sys.exit(error.exit_code)


def use_flower_defaults(arguments: Sequence[str], environment: MutableMapping[str, str]) -> None:
    """Set Flower's variables that are not set, if this is Flower."""
    if "flower" in arguments:
        for name, value in _FLOWER_DEFAULTS.items():
            environment.setdefault(name, value)


def require_broker_of_flower(arguments: Sequence[str], settings: Settings) -> None:
    """Refuse to watch workers where there can't be any.

    Raises:
        NeedsBrokerError: this is Flower, and the broker would be inside its process.
    """
    celery = any(word.startswith(("-A", "--app")) for word in arguments)
    if celery and "flower" in arguments and "--help" not in arguments and settings.embedded:
        raise NeedsBrokerError(
            "Flower watches workers in other terminals and needs a broker: set "
            "CELERY_BROKER_URL=amqp://USER:PASSWORD@HOST"
        )


def _make_app() -> Celery:
    use_flower_defaults(sys.argv, os.environ)
    memory.keep_freed_memory()
    codec.install()
    made = Celery("sms_pipeline", include=["sms_pipeline.worker.task"])
    made.config_from_object("celeryconfig")
    made.user_options["worker"].update(_WORKER_OPTIONS)
    return made


_WORKER_OPTIONS = (
    click.Option(("--profile",), help="Sender profile that this worker plays. Required."),
    click.Option(("--senders",), type=int, help="Number of senders, instead of the profile's."),
    click.Option(("--mean-time",), type=float, help="Mean seconds for one message."),
    click.Option(("--failure-rate",), type=float, help="Share of attempts that fail, 0 to 1."),
    click.Option(
        ("--config", "simulation_file"),
        type=click.Path(path_type=Path),
        help="YAML file with the profiles; default: SMS_CONFIG, else the built-in profiles.",
    ),
)

try:
    app = _make_app()
    app.conf.broker_url  # noqa: B018 - reads the configuration now, so that errors are shown here
    require_broker_of_flower(sys.argv, load_settings())
except PipelineError as error:
    exit_with(error)


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def _prepare_worker(instance: Any, conf: Any, options: dict[str, Any], **_: Any) -> None:
    """Everything a worker needs before it starts to consume; ends the process when it can't."""
    try:
        settings = load_settings()
        simulation = load_simulation(options.get("simulation_file") or settings.config)
        _require_worker_settings(conf, settings, options, sys.argv)
        _use_log_level(settings)
        profile = _chosen_profile(simulation, options)
        batch_size = simulation.batch_size_for(profile)
        require_short_batches(profile, batch_size)
        conf.worker_concurrency = threads_for(profile, batch_size)
        instance.hostname = _node_name(instance.hostname, profile)
        use_queues([profile.name], settings.queue_type)
        _start_pipeline(settings, [profile])
    except PipelineError as error:
        exit_with(error)


def _use_log_level(settings: Settings) -> None:
    """SMS_LOG_LEVEL counts for workers, too, unless the option --loglevel is given."""
    context = click.get_current_context(silent=True)
    default = click.core.ParameterSource.DEFAULT
    if context and context.get_parameter_source("loglevel") is not default:
        return

    @signals.after_setup_logger.connect(weak=False)  # type: ignore[untyped-decorator]
    def set_level(logger: logging.Logger, **_: Any) -> None:
        logger.setLevel(settings.log_level)


def _start_pipeline(settings: Settings, profiles: Sequence[SenderProfile]) -> None:
    publisher = Publisher.open(settings, [profile.name for profile in profiles])
    worker = Worker(Ledger.open(settings.database_url), profiles)
    worker.start()
    install(Pipeline(worker, publisher))


def _require_worker_settings(
    conf: Any, settings: Settings, options: dict[str, Any], arguments: Sequence[str]
) -> None:
    if settings.embedded:
        raise NeedsBrokerError(
            "a worker in a terminal of its own needs a broker: set "
            "CELERY_BROKER_URL=amqp://USER:PASSWORD@HOST, or use 'sms-pipeline run'"
        )
    for name, value in _REQUIRED_SETTINGS.items():
        if conf[name] != value:
            raise ConfigError(
                f"celeryconfig: {name} must be {value!r}, got {conf[name]!r}; is there another "
                "celeryconfig.py in this folder?"
            )
    _require_threads(options.get("pool"), arguments)


def _require_threads(pool: Any, arguments: Sequence[str]) -> None:
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


def _chosen_profile(simulation: Simulation, options: dict[str, Any]) -> SenderProfile:
    if not options.get("profile"):
        known = ", ".join(sender.name for sender in simulation.senders)
        raise ConfigError(f"option --profile is required: one of {known}")
    return override_profile(
        simulation.profile(options["profile"]),
        count=options.get("senders"),
        mean_time=options.get("mean_time"),
        failure_rate=options.get("failure_rate"),
    )


def _node_name(given: str, profile: SenderProfile) -> str:
    """Two workers of one name would shut each other out, so the default name is made unique."""
    name, _, host = given.partition("@")
    return given if name != "celery" else f"{profile.name}-{os.getpid()}@{host}"


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _take_signals_over(sender: Any, **_: Any) -> None:
    # A worker inside `sms-pipeline run` has no signals of its own.
    if threading.current_thread() is threading.main_thread():
        Shutdown(sender, pipeline().worker).install()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_worker(**_: Any) -> None:
    for installed in _installed:
        installed.worker.stop()
