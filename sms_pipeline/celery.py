"""The Celery app: what `celery -A sms_pipeline` finds."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, MutableMapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click
from celery import Celery, Task, signals
from celery.result import AsyncResult

from sms_pipeline.broker import codec, memory
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.files import load_simulation
from sms_pipeline.config.option_types import TIME
from sms_pipeline.config.settings import Settings, load_settings
from sms_pipeline.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    PipelineError,
    Terminated,
)
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.single import require_sms, send_one
from sms_pipeline.worker import pipeline, startup, task
from sms_pipeline.worker.shutdown import DRAIN_SECONDS, Shutdown

#: Defaults for `celery -A sms_pipeline flower`; its own variables and options override them. By
#: itself Flower listens on every interface, without a password.
_FLOWER_DEFAULTS = {
    "FLOWER_ADDRESS": "127.0.0.1",
    "FLOWER_MAX_TASKS": "10000",
    # Without the task's name, for there is one task.
    "FLOWER_TASKS_COLUMNS": "args,state,retries,worker,received,runtime,uuid",
}


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
    if celery and "flower" in arguments and "--help" not in arguments:
        settings.require_broker("Flower watches workers in other terminals and needs a broker")


class SmsTask(Task):  # type: ignore[misc]
    """Takes one SMS, too: `send_sms.delay("202-555-0100", "text")`."""

    def delay(self, *arguments: Any, **options: Any) -> AsyncResult:
        """Send a batch (in its wire form), or one SMS as a run of its own.

        Raises:
            PipelineError: the number or the text can't be sent, or broker or ledger can't be
                reached; the SMS is not sent then, unless the broker took it without a word and
                the ledger went away, too.
        """
        if len(arguments) == len(("to", "text")) and not options:
            return self._send_one(*arguments)
        return super().delay(*arguments, **options)

    def _send_one(self, to: str, text: str) -> AsyncResult:
        require_sms(to, text)
        settings = load_settings()
        simulation = load_simulation(settings.config)
        if self.app.conf.task_always_eager:
            worker = pipeline.pipeline().worker
            served = simulation.model_copy(update={"senders": tuple(worker.profiles)})
            play = super().delay
            return send_one(
                worker.ledger, lambda batch: play(batch.to_wire()), served, to, text, embedded=True
            )
        settings.require_broker(
            "send_sms.delay works with workers in other terminals, so it needs a broker"
        )
        publisher = Publisher.open(settings, [sender.name for sender in simulation.senders])
        ledger = Ledger.open(settings.database_url)
        try:
            publish = partial(publisher.publish, self.app)
            return send_one(ledger, publish, simulation, to, text, embedded=False)
        finally:
            ledger.close()


def _make_app() -> Celery:
    use_flower_defaults(sys.argv, os.environ)
    memory.keep_freed_memory()
    codec.install()
    made = Celery(
        "sms_pipeline",
        task_cls=SmsTask,
        amqp="sms_pipeline.worker.prefetch:BatchAMQP",
        include=["sms_pipeline.worker.task"],
    )
    made.config_from_object("sms_pipeline.celeryconfig")
    made.user_options["worker"].update(_WORKER_OPTIONS)
    return made


_WORKER_OPTIONS = (
    click.Option(
        ("--profile",),
        help="Sender profile that this worker plays. Required here or in SMS_PROFILE.",
    ),
    click.Option(
        ("--senders",),
        type=int,
        help="Number of senders; default: SMS_SENDERS, else that of the profile.",
    ),
    click.Option(("--mean-time",), type=TIME, help="Mean time for one message: 0.2, 200ms."),
    click.Option(("--failure-rate",), type=float, help="Share of attempts that fail, 0 to 1."),
    click.Option(("--echo",), is_flag=True, help="Print each SMS when it is sent."),
    click.Option(
        ("--config", "simulation_file"),
        type=click.Path(path_type=Path),
        help="YAML file with the profiles; default: SMS_CONFIG, else the built-in profiles.",
    ),
    click.Option(
        ("--drain",),
        type=TIME,
        default=DRAIN_SECONDS,
        show_default=True,
        help="How long a shutdown waits for the batches in hand: seconds, or 30s, 2m. What is left "
        "then goes to other workers.",
    ),
    click.Option(
        ("--health",),
        metavar="PORT|HOST:PORT|FILE",
        help="Answer probes: at /live and /ready of PORT, which is open to this machine only, or "
        "of HOST:PORT; or write FILE every second while the worker is alive.",
    ),
)

try:
    app = _make_app()
    app.conf.broker_url  # noqa: B018 - reads the configuration now, so that errors are shown here
    require_broker_of_flower(sys.argv, load_settings())
except PipelineError as error:
    exit_with(error)

#: The task of this app. A shared task would follow whichever app was made last.
send_sms = app.tasks[task.send_sms.name]


def _vital(receiver: Callable[..., None]) -> Callable[..., None]:
    """Celery logs what a receiver raises, and goes on: a worker set up by half would look alive.

    Here whatever goes wrong ends the process, with one line.
    """

    @wraps(receiver)
    def guarded(**arguments: Any) -> None:
        try:
            receiver(**arguments)
        except PipelineError as error:
            exit_with(error)
        except Terminated:
            sys.exit(EXIT_TERMINATED)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)
        except Exception as error:
            exit_with(PipelineError(f"the worker can't start: {in_one_line(error)}"))

    return guarded


def in_one_line(error: Exception) -> str:
    """What kind of error it is, and what it says first."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
@_vital
def _prepare_worker(instance: Any, options: dict[str, Any], **_: Any) -> None:
    startup.prepare(app, instance, options)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
@_vital
def _begin(sender: Any, **_: Any) -> None:
    # A worker inside `sms-pipeline run` has no signals of its own.
    if threading.current_thread() is threading.main_thread():
        parts = pipeline.pipeline()
        Shutdown(sender, parts.worker, drain=parts.drain).install()
        click.echo(startup.ready_line(parts.worker), err=True)


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_worker(**_: Any) -> None:
    pipeline.stop()
