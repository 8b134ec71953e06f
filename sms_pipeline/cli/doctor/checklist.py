"""How checks are shown."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable

from rich.text import Text

from sms_pipeline.cli.doctor.check import Check, State, is_healthy
from sms_pipeline.core.counts import how_many
from sms_pipeline.views.output import PIPE_COLUMNS, write, write_all

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAULT: "red", State.UNKNOWN: "cyan"}
_STATE_WIDTH = max(map(len, State))
_GAP = "  "
_REMEDY = "remedy: "
#: A finding gets at least so much of a line, however narrow the terminal is.
_LEAST_WIDTH = 30


def show(checks: Iterable[Check], names: Iterable[str], is_terminal: bool) -> list[Check]:
    """Print each check when it is known, and the sum at the end.

    Args:
        checks: they may take a while to come.
        names: of all checks that can come; the columns are made to fit them.
        is_terminal: whether lines are broken to fit.
    """
    name_width = max(map(len, names), default=0)
    width = shutil.get_terminal_size().columns if is_terminal else PIPE_COLUMNS
    shown = []
    for check in checks:
        shown.append(check)
        write_all(*_coloured(check, lines_of(check, name_width, width)))
    write(summary(shown))
    return shown


def show_json(checks: Iterable[Check]) -> list[Check]:
    """Print one JSON object."""
    made = list(checks)
    document = {"healthy": is_healthy(made), "checks": [check.to_json() for check in made]}
    write(json.dumps(document))
    return made


def lines_of(check: Check, name_width: int, width: int) -> list[str]:
    """One check, in columns: state, name, finding; below it the remedy."""
    indent = " " * (_STATE_WIDTH + name_width + 2 * len(_GAP))
    room = max(width - len(indent), _LEAST_WIDTH)
    told = _wrap(check.finding, room)
    if check.remedy:
        told += [
            (_REMEDY if place == 0 else " " * len(_REMEDY)) + line
            for place, line in enumerate(_wrap(check.remedy, room - len(_REMEDY)))
        ]
    head = f"{check.state:<{_STATE_WIDTH}}{_GAP}{check.name:<{name_width}}{_GAP}{told[0]}"
    return [head, *(indent + line for line in told[1:])]


def _coloured(check: Check, lines: list[str]) -> list[Text]:
    texts = [Text(line) for line in lines]
    texts[0].stylize(_COLOURS[check.state], 0, _STATE_WIDTH)
    return texts


def _wrap(text: str, width: int) -> list[str]:
    # A command must stay whole where it can be: words are never cut.
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return [part for line in text.splitlines() for part in wrapper.wrap(line)] or [""]


def summary(checks: list[Check]) -> str:
    """What it comes to, in one line."""
    numbers = Counter(check.state for check in checks)
    bad = (State.FAULT, State.WARNING)
    words = [
        *(how_many(numbers[state], state.value) for state in bad if numbers[state]),
        f"{numbers[State.UNKNOWN]} not known" if numbers[State.UNKNOWN] else "",
        f"{numbers[State.OK]} of {how_many(len(checks), 'check')} ok",
    ]
    verdict = "Healthy" if is_healthy(checks) else "Not healthy"
    return f"{verdict}: {', '.join(filter(None, words))}."
