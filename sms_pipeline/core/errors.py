"""Every error a user can cause or meet. A message is one line that says what to do."""

import unicodedata

EXIT_OK = 0
#: Something outside failed: broker or database not reachable, a worker thread died.
EXIT_FAILURE = 1
#: The command makes no sense as given: bad file, bad option, unknown run.
EXIT_USAGE = 2
#: The run missed a threshold, or can no longer meet it.
EXIT_THRESHOLD = 3
#: The audit found records that contradict one another.
EXIT_BROKEN = 4
#: The audit found nothing wrong, but the run has not ended.
EXIT_UNFINISHED = 5
#: 128 + SIGINT, what shells report for a program ended by Ctrl-C.
EXIT_INTERRUPTED = 130
#: 128 + SIGTERM.
EXIT_TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does."""


def printable(text: str) -> str:
    """Text that may come from anywhere, so that no terminal obeys it; it keeps its lines.

    What can't be printed is spelled out, as in `\\u001b`: a name could otherwise colour, move or
    hide what is around it.
    """
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else _spelled_out(c) for c in text)


def _spelled_out(character: str) -> str:
    # The spaces of other scripts are harmless; so is this spelling inside a JSON string.
    number = ord(character)
    if unicodedata.category(character) == "Zs":
        return character
    return f"\\u{number:04x}" if number <= _LAST_OF_FOUR_DIGITS else f"\\U{number:08x}"


_LAST_OF_FOUR_DIGITS = 0xFFFF


class PipelineError(Exception):
    """Base of all errors of this package; `exit_code` is what the process ends with."""

    exit_code = EXIT_FAILURE

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(PipelineError):
    """The configuration can't be used; the message names source, key, value and what is allowed."""

    exit_code = EXIT_USAGE


class ThresholdMissedError(PipelineError):
    """The run missed thresholds; the message names each, with the value seen."""

    exit_code = EXIT_THRESHOLD


class UnknownRunError(PipelineError):
    """The ledger has no such run."""

    exit_code = EXIT_USAGE


class EndedRunError(PipelineError):
    """The run has ended, or was cancelled, so it can't be steered any more."""

    exit_code = EXIT_USAGE


class NoLedgerError(UnknownRunError):
    """There is nothing to read: the database holds no ledger, or is not there at all."""


class MissingPackagesError(PipelineError):
    """The command is an optional part, and its packages are not installed."""

    exit_code = EXIT_USAGE


class NeedsBrokerError(PipelineError):
    """The command works across processes, and no broker is configured."""

    exit_code = EXIT_USAGE


class OutputError(PipelineError):
    """What was asked for can't be written: the disk is full, for example."""


class BrokerUnavailableError(PipelineError):
    """The broker did not answer, or did not confirm, within the time allowed."""


class BrokerRefusedError(BrokerUnavailableError):
    """The broker answered, and refused: waiting changes nothing."""


class LedgerUnavailableError(PipelineError):
    """The database can't be reached, or is not a ledger of this version."""


class DamagedLedgerError(PipelineError):
    """The ledger holds what can't be read: its file is damaged, or a row is not one of ours."""

    exit_code = EXIT_BROKEN


class BadBatchError(PipelineError):
    """A task body that is not a batch; the message never repeats the body."""


class ForeignLedgerError(PipelineError):
    """A batch of another ledger reached this worker, which must not settle it."""

    exit_code = EXIT_USAGE


class StoppingError(PipelineError):
    """Told to stop before the work was done. What was not done stays with broker and ledger."""
