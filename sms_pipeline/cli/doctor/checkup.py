"""What is looked at, for one set-up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import celery

from sms_pipeline.celery import app
from sms_pipeline.cli.doctor import machine_probes, machine_verdicts
from sms_pipeline.cli.doctor.broker_steps import Brokers
from sms_pipeline.cli.doctor.check import Check, fault, ok
from sms_pipeline.cli.doctor.examination import Step
from sms_pipeline.cli.doctor.ledger_steps import ledger_steps
from sms_pipeline.config.brokers import split_urls
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.files import load_simulation
from sms_pipeline.config.places import broker_elsewhere
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.worker.in_hand import Hands, threads_of

CONFIGURATION = "configuration"
_BROKER = "broker"
#: A producer and a monitor, beside the workers.
_OTHER_PROCESSES = 2
#: Variables by which Celery, but nothing else, is led to another broker.
_READ, _WRITE = "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"


def subjects_of(
    settings: Settings, file: Path | None, clock: Clock = MACHINE_CLOCK
) -> list[Sequence[Step]]:
    """What to look at, and in which order.

    Args:
        settings: where things are.
        file: the configuration; None: the built-in one.
        clock: of this machine.
    """
    simulation, configuration = _read(file)
    profiles = [profile.name for profile in simulation.senders]
    urls = [] if settings.embedded else split_urls(settings.broker_url)
    processes = len(profiles) + _OTHER_PROCESSES
    elsewhere = broker_elsewhere(settings)
    ledger = ledger_steps(settings.database_url, elsewhere, processes, clock)
    return [
        [Step(CONFIGURATION, lambda: [configuration]), *_machine(simulation, settings)],
        *_brokers(urls, profiles, settings, clock),
        ledger,
    ]


def _brokers(
    urls: Sequence[str], profiles: Sequence[str], settings: Settings, clock: Clock
) -> Iterable[Sequence[Step]]:
    if urls:
        return Brokers(urls, profiles, settings.queue_type, clock).subjects()
    told = ok(_BROKER, "inside the process (CELERY_BROKER_URL is not set): enough for 'run'")
    return [[Step(_BROKER, lambda: [told])]]


def _read(file: Path | None) -> tuple[Simulation, Check]:
    """The configuration; the built-in one in place of one that can't be used."""
    try:
        simulation = load_simulation(file, {})
    except ConfigError as error:
        return Simulation(), fault(CONFIGURATION, str(error), f"correct {file}")
    profiles = ", ".join(profile.name for profile in simulation.senders)
    return simulation, ok(CONFIGURATION, f"{file or 'built in'}: profiles {profiles}")


def _machine(simulation: Simulation, settings: Settings) -> list[Step]:
    wanted = threads_wanted(simulation, settings)
    return [
        Step(machine_verdicts.CELERY, lambda: [_celery(settings, os.environ)]),
        Step(
            machine_verdicts.FILES,
            lambda: [
                machine_verdicts.files(machine_probes.openable_files(machine_verdicts.WANTED_FILES))
            ],
        ),
        Step(
            machine_verdicts.THREADS,
            lambda: [machine_verdicts.threads(machine_probes.startable_threads(wanted), wanted)],
        ),
        Step(machine_verdicts.CORES, lambda: [machine_verdicts.cores(machine_probes.cores())]),
    ]


def threads_wanted(simulation: Simulation, settings: Settings) -> int:
    """Of the process with the most: a worker's; without a broker there is one for all profiles."""
    each = threads_of(simulation).values()
    if settings.embedded:
        return sum(each)
    return Hands.of(max(each), settings.queue_type).threads


def _celery(settings: Settings, environment: Mapping[str, str]) -> Check:
    found = {name: getattr(app.conf, name) for name in machine_verdicts.SETTINGS}
    elsewhere = {
        name: url
        for name in (_READ, _WRITE)
        if (url := environment.get(name)) and url != settings.broker_url
    }
    return machine_verdicts.celery(found, celery.__version__, elsewhere)
