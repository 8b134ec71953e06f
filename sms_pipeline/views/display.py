"""Ways to show a run that is going on: a screen, lines of text, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Protocol

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.progress import ProfileProgress, Progress
from sms_pipeline.views.lines import (
    INDENT,
    detail_lines,
    profile_line,
    profile_lines,
    summary_lines,
    threshold_line,
    update_line,
    wrapped,
)
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.outcome import Outcome, outcome_of
from sms_pipeline.views.output import say, write
from sms_pipeline.views.states import notices, waits_for
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

    def __init__(self, verbose: bool = False) -> None:
        self._lines = PlainView(err=True, verbose=verbose)

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._lines.show(progress)


class PlainView:
    """Lines for pipes and logs: one for each update, and what is new below it."""

    def __init__(self, err: bool = False, verbose: bool = False) -> None:
        self._err = err
        self._verbose = verbose
        #: What was said of each profile's senders …
        self._fleets: dict[str, object] = {}
        #: … and in the last update.
        self._told: set[object] = set()

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._line(update_line(progress))
        if waiting := waits_for(progress):
            self._below([waiting])
        if self._verbose:
            self._below(detail_lines(progress))
        for profile in progress.profiles:
            self._profile(profile)
        news: dict[object, str] = {
            **{_gist(warning): f"! {warning}" for warning in notices(progress)},
            **{(one.check.text, one.state): threshold_line(one) for one in progress.thresholds},
        }
        for gist, text in news.items():
            if self._verbose or gist not in self._told:
                self._below(wrapped(text))
        self._told = set(news)

    def _profile(self, profile: ProfileProgress) -> None:
        """Its figures change all the time; its senders are news when they do."""
        fleet = (profile.senders, profile.failure_rate, profile.is_unattended)
        if self._verbose:
            self._below(profile_lines(profile))
        elif self._fleets.get(profile.name) != fleet:
            self._below([profile_line(profile)])
        self._fleets[profile.name] = fleet

    def _below(self, texts: list[str]) -> None:
        for place, text in enumerate(texts):
            self._line(" " * INDENT * (1 if place == 0 else 2) + text)

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
            for part in wrapped(line):
                self._line(part)

    def _line(self, text: str) -> None:
        write(text, err=self._err)


def _gist(warning: str) -> str:
    """A warning without its figures, which change all the time."""
    return re.sub(r"\d[\d,.]*", "N", warning)


def tell_outages(note: Callable[[str], None]) -> Callable[[LedgerUnavailableError], None]:
    """For `readings`: tells the user, through `note`, that the ledger can't be reached."""
    return lambda error: note(f"{error}; waiting for it")


def make_view(as_json: bool, terminal: bool, verbose: bool = False) -> View:
    """The view that suits where the output goes."""
    if as_json:
        return JsonView()
    return LiveView() if terminal else PlainView(verbose=verbose)
