"""What commands need: settings, a ledger, a simulation. Heavy modules are imported late."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from sms_pipeline.cli.options import OPTION_OF, SimulationOptions, overrides
from sms_pipeline.core.errors import ConfigError, NoLedgerError, printable

if TYPE_CHECKING:
    from sms_pipeline.config.settings import Settings
    from sms_pipeline.core.records import Run
    from sms_pipeline.core.simulation import Simulation
    from sms_pipeline.ledger.store import Ledger

_TO = re.compile("(failed|delivered):[1-9][0-9]{0,9}")
#: Between two words on how far a long look into a file is.
_PROGRESS_SECONDS = 2.0
#: Values of TERM that mean: nothing can be redrawn.
_DUMB_TERMINALS = ("dumb", "unknown")


def read_settings() -> Settings:
    """Read the settings, and set up logging.

    Raises:
        ConfigError: a variable has a value that is not allowed.
    """
    from sms_pipeline.config.settings import load_settings

    settings = load_settings()
    log_level = click.get_current_context().find_root().params["log_level"]
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=(log_level or settings.log_level).upper(), handlers=[handler])
    return settings


class _Printable(logging.Formatter):
    """Lets no name that is logged reach the terminal as control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return printable(super().format(record))


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger.

    Raises:
        ConfigError: its URL is not that of a ledger.
        LedgerUnavailableError: it can't be reached, or is of another version.
    """
    from sms_pipeline.ledger.store import Ledger

    return Ledger.open(settings.database_url)


def read_ledger(settings: Settings, or_make: bool = False) -> Ledger:
    """Open the ledger to read it: no right to write is needed, and nothing is made.

    Args:
        settings: where it is.
        or_make: make one if there is none, for commands that wait for the first run.

    Raises:
        NoLedgerError: there is none.
        ConfigError, LedgerUnavailableError, DamagedLedgerError: it can't be read.
    """
    from sms_pipeline.ledger.store import Ledger

    try:
        return Ledger.open_to_read(settings.database_url)
    except NoLedgerError:
        if not or_make:
            raise
    return open_ledger(settings)


def one_file(argument: Path | None, option: Path | None, settings: Settings) -> Path | None:
    """The configuration that is meant: CONFIG, --config, or that of the settings.

    Raises:
        ConfigError: both are given.
    """
    if argument and option:
        raise ConfigError("name one configuration: CONFIG or --config, not both")
    return argument or option or settings.config


def read_simulation(
    file: Path | None,
    options: SimulationOptions,
    checks: tuple[str, ...],
    every: float | None = None,
    to: str | None = None,
    settings: Settings | None = None,
) -> Simulation:
    """Read the file (None: the defaults), and apply the options; look into the recipients.

    `to` is the value of --to; `settings` says where the earlier run is that it, or the file, names.

    Raises:
        ConfigError: a file can't be read, or a value is not allowed.
    """
    from sms_pipeline.config.files import load_simulation, with_thresholds
    from sms_pipeline.producer.recipients import examined

    if to is not None and not _TO.fullmatch(to):
        raise ConfigError(f"option --to: must be failed:RUN or delivered:RUN, got {to!r}")
    given = overrides(options, every)
    ledger = read_ledger(settings) if to and settings else None
    if to and ledger:
        given["recipients"] = {**_recipients_of(ledger, to), **given.get("recipients", {})}
    simulation = load_simulation(file, given, OPTION_OF)
    if settings and simulation.recipients and simulation.recipients.only:
        ledger = ledger or read_ledger(settings)
    only_first = "num_messages" in simulation.model_fields_set
    simulation = examined(simulation, only_first, progress("checking the recipients"), ledger)
    return with_thresholds(simulation, checks)


def _recipients_of(ledger: Ledger, to: str) -> dict[str, str]:
    """Those of an earlier run, as a file would name them."""
    from sms_pipeline.producer.follow_up import earlier_run

    recipients = earlier_run(ledger, to).simulation.recipients
    known = {"file": recipients.file, "column": recipients.column} if recipients else {}
    return {**known, "only": to}


def progress(what: str) -> Callable[[int], None]:
    """Tells on stderr how many rows are done, every few seconds."""
    from sms_pipeline.config.clock import MACHINE_CLOCK
    from sms_pipeline.views.format import count
    from sms_pipeline.views.output import say

    told_at = MACHINE_CLOCK.monotonic()

    def tell(rows: int) -> None:
        nonlocal told_at
        now = MACHINE_CLOCK.monotonic()
        if now - told_at >= _PROGRESS_SECONDS:
            told_at = now
            say(f"{what}: {count(rows)} rows")

    return tell


def require_period(every: float | None) -> None:
    """Check `--every` before anything is opened.

    Raises:
        ConfigError: `every` is not allowed.
    """
    from sms_pipeline.config.files import load_simulation

    load_simulation(None, overrides(None, every), OPTION_OF)


def with_options(run: Run, checks: tuple[str, ...], every: float | None) -> Run:
    """`run` with the thresholds and the period of the options.

    Raises:
        ConfigError: one of them is not allowed.
    """
    from sms_pipeline.config.files import override_simulation, with_thresholds

    simulation = override_simulation(run.simulation, overrides(None, every), OPTION_OF)
    return replace(run, simulation=with_thresholds(simulation, checks))


#: Between two times that a list is shown with --watch.
_WATCH_SECONDS = 2.0


def show_list(show: Callable[[], None], again: bool) -> None:
    """Show a list once, or `again` and again until Ctrl-C; a terminal is cleared in between."""
    show()
    if not again:
        return
    from sms_pipeline.config.clock import MACHINE_CLOCK

    while True:
        MACHINE_CLOCK.sleep(_WATCH_SECONDS)
        if is_terminal():
            click.clear()
        show()


def is_terminal() -> bool:
    """Whether stdout is a terminal on which something can be redrawn."""
    # There is no stdout if the shell closed it.
    stdout: TextIO | None = sys.stdout
    return stdout is not None and stdout.isatty() and os.environ.get("TERM") not in _DUMB_TERMINALS
