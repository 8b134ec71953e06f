"""Limits that carriers publish, by name; the figures are in `presets.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

#: What a preset says of a sender profile.
LIMITS = ("parts_per_second", "validity", "daily_cap")


@cache
def presets() -> dict[str, dict[str, Any]]:
    """All of them, by name: limits, what has them, their source, and when it was read."""
    return tomllib.loads(files(__package__).joinpath("presets.toml").read_text("utf-8"))


def limits_of(name: str) -> dict[str, Any]:
    """The limits of a preset; empty if there is none of that name."""
    found = presets().get(name, {})
    return {key: found[key] for key in LIMITS if key in found}
