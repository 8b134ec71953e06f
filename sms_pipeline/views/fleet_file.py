"""Calibrated senders as a configuration, with what is known about them in comments."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from sms_pipeline.config.reading import shown
from sms_pipeline.core.counts import of_attempts
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.forecast.calibration import CalibratedProfile, Calibration
from sms_pipeline.views.calibration import (
    interval,
    load,
    notes,
    remarks,
    source,
)
from sms_pipeline.views.format import count, estimated_time, parameter, percent
from sms_pipeline.views.output import say, write, write_file

_WIDTH = 100


def save_fleet(calibration: Calibration, path: Path | None) -> None:
    """Write the configuration to `path`; None is stdout.

    Raises:
        ConfigError: the file can't be written, or is the log itself.
        OutputError: stdout can't be written.
    """
    content = as_yaml(calibration)
    if path is None:
        write(content, newline=False)
        return
    # A file that is not there yet, or has an impossible name, is not the log.
    with suppress(OSError, ValueError):
        if path.samefile(calibration.log.path):
            raise ConfigError(f"{shown(path)}: is the log itself; name another file")
    write_file(path, content.encode())
    say(f"Wrote {shown(path)}: sms-pipeline run {shown(path)}")


def as_yaml(calibration: Calibration) -> str:
    """A file that `sms-pipeline run` takes."""
    return "\n".join(_lines(calibration)) + "\n"


def _lines(calibration: Calibration) -> Iterator[str]:
    yield from _comment(f"Senders as in {calibration.log.path.name}.")
    for line in (source(calibration), *remarks(calibration)):
        yield from _comment(line)
    yield from _comment("In brackets: what 95 of 100 such logs would have the true value in.")
    yield "senders:"
    for one in calibration.profiles:
        yield from _profile(one)


def _profile(one: CalibratedProfile) -> Iterator[str]:
    for line in (*_findings(one), *notes(one)):
        yield from _comment(line, "  ")
    given = one.profile
    yield f"  - name: {json.dumps(given.name)}"
    yield f"    count: {given.count}"
    yield f"    mean_time: {_plain(given.mean_time)}"
    yield f"    failure_rate: {_plain(given.failure_rate)}"
    yield from _distribution(given)


def _findings(one: CalibratedProfile) -> Iterator[str]:
    yield f"{one.profile.name}: {of_attempts(one.attempts)}, {count(one.timed)} of them timed"
    yield (
        f"mean time {interval(one.mean_time, estimated_time)}, "
        f"shape {interval(one.shape, parameter)}"
    )
    yield f"failure rate {interval(one.failure_rate, percent)}"
    yield load(one)
    yield f"count: as many as were busy at the same time; they make {_rate(one.profile)}"


def _rate(profile: SenderProfile) -> str:
    if not profile.mean_time:
        return "any number a second"
    return f"{parameter(profile.capacity)} attempts a second"


def _distribution(profile: SenderProfile) -> Iterator[str]:
    if not profile.times:
        yield f"    shape: {_plain(profile.shape)}"
        return
    yield "    times:"
    listed = f"[{', '.join(map(_plain, profile.times))}]"
    yield from textwrap.wrap(listed, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 7)


def _plain(value: float) -> str:
    """Without an exponent: YAML takes 1e-05 for a word."""
    return np.format_float_positional(value, trim="0")


def _comment(text: str, indent: str = "") -> Iterator[str]:
    """Lines of a comment, whatever is in the text: a name in a log may hold anything."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    yield from textwrap.wrap(
        plain,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
