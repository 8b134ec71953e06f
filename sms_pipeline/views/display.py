"""Ways to show a run that is going on: a screen, lines of text, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from sms_pipeline.core.progress import Progress
from sms_pipeline.errors import LedgerUnavailableError
from sms_pipeline.views.lines import profile_line, summary_lines, threshold_line, update_line
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.outcome import Outcome, outcome_of
from sms_pipeline.views.output import say, write
from sms_pipeline.views.states import notices
from sms_pipeline.views.terminal import LiveView


class View(Protocol):
    """A way to show a run."""

    def show(self, progress: Progress) -> None:
        """An update."""

    def note(self, message: str) -> None:
        """Something the user should know now."""

    def close(self, progress: Progress | None, ended: str, outcome: Outcome | None = None) -> None:
        """The last update and the summary; `ended` says how it ended, `outcome` what came of it."""


class JsonView:
    """One line with a JSON object per update."""

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        write(json.dumps(progress_json(progress)))

    def note(self, message: str) -> None:
        """See `View.note`."""
        say(message)

    def close(self, progress: Progress | None, ended: str, outcome: Outcome | None = None) -> None:
        """See `View.close`."""
        if progress:
            known = outcome or outcome_of(progress)
            last = {"verdict": known.line, "seal": known.seal}
            write(json.dumps({**progress_json(progress), **last}))


class SummaryJsonView(JsonView):
    """For `run --json`: only the last object is on stdout; updates go to stderr."""

    def __init__(self) -> None:
        self._lines = PlainView(err=True)

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._lines.show(progress)


class PlainView:
    """Lines for pipes and logs."""

    def __init__(self, err: bool = False) -> None:
        self._err = err

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._line(update_line(progress))
        for profile in progress.profiles:
            self._line(f"    {profile_line(profile)}")
        for warning in notices(progress):
            self._line(f"    ! {warning}")
        for judgement in progress.thresholds:
            self._line(f"    {threshold_line(judgement)}")

    def note(self, message: str) -> None:
        """See `View.note`."""
        say(message)

    def close(self, progress: Progress | None, ended: str, outcome: Outcome | None = None) -> None:
        """See `View.close`."""
        if progress is None:
            self._line(ended)
            return
        self._line(update_line(progress))
        for line in summary_lines(progress, ended, outcome):
            self._line(line)

    def _line(self, text: str) -> None:
        write(text, err=self._err)


def tell_outages(note: Callable[[str], None]) -> Callable[[LedgerUnavailableError], None]:
    """For `readings`: tells the user, through `note`, that the ledger can't be reached."""
    return lambda error: note(f"{error}; waiting for it")


def make_view(as_json: bool, terminal: bool) -> View:
    """The view that suits where the output goes."""
    if as_json:
        return JsonView()
    return LiveView() if terminal else PlainView()
