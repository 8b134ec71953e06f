"""What options take, of workers as of all other commands."""

from __future__ import annotations

from contextlib import suppress

import click


class _Time(click.ParamType):  # type: ignore[type-arg]
    """A number of seconds, or a time with its unit."""

    name = "TIME"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds; a default is a number already."""
        # Loads pydantic, which the help does not need.
        from sms_pipeline.core.times import parse_time

        with suppress(ValueError):
            return float(value)
        try:
            return parse_time(str(value))
        except ValueError as error:
            self.fail(f"{error}, got {value!r}", param, ctx)


class _RunTime(_Time):
    """How long a run may take."""

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        from sms_pipeline.core.simulation import MAX_RUN_SECONDS

        seconds = super().convert(value, param, ctx)
        if not 0 < seconds <= MAX_RUN_SECONDS:
            self.fail(f"must be above 0 and at most a year, got {value!r}", param, ctx)
        return seconds


TIME, RUN_TIME = _Time(), _RunTime()
