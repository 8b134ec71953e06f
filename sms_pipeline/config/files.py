"""A simulation from a YAML file, overridden by options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sms_pipeline.config.problems import (
    LineOf,
    Problem,
    problems_in_file,
    problems_of_options,
    told,
)
from sms_pipeline.config.reading import read_text, shown
from sms_pipeline.config.yaml_text import read_yaml
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.recipients import Recipients
from sms_pipeline.core.simulation import Simulation


def load_simulation(
    path: Path | None,
    overrides: Mapping[str, Any] | None = None,
    named: Mapping[str, str] | None = None,
) -> Simulation:
    """Read `path` (None: the defaults), then override it key by key with `overrides` (options).

    Args:
        path: the YAML file.
        overrides: values by key.
        named: what the user calls the options, by dotted key, for error messages.

    Raises:
        ConfigError: unreadable file, broken YAML, or values that are not allowed; it names them
            all.
    """
    content, simulation = _read_simulation(path) if path else ({}, Simulation())
    if simulation.recipients and path:
        content["recipients"] = _beside(path, simulation.recipients)
        simulation = Simulation.model_validate(content)
    if not overrides:
        return simulation
    merged = dict(content)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return _validate_options(merged, overrides, named)


def read_simulation(text: str, name: str) -> Simulation:
    """The simulation that a text in YAML says; `name` is what errors call the text.

    Raises:
        ConfigError: it is not YAML, or has values that are not allowed; it names them all.
    """
    return _parse(text, name)[1]


def override_simulation(
    simulation: Simulation, overrides: Mapping[str, Any], named: Mapping[str, str] | None = None
) -> Simulation:
    """`simulation` with `overrides` (from options), validated again; see `load_simulation`.

    Raises:
        ConfigError: a value is not allowed.
    """
    return _validate_options({**simulation.model_dump(), **overrides}, overrides, named)


def with_thresholds(simulation: Simulation, checks: Sequence[str]) -> Simulation:
    """`simulation` with more thresholds than it has, from `--threshold`.

    Raises:
        ConfigError: one of `checks` is not a check; the message points at the mistake.
    """
    together = (*simulation.model_dump()["thresholds"], *checks)
    return override_simulation(simulation, {"thresholds": together}, {"thresholds": "--threshold"})


def new_profile(name: str) -> SenderProfile:
    """A profile that no file knows; what it is like is for options to say.

    Raises:
        ConfigError: a profile can't have that name.
    """
    try:
        return SenderProfile(name=name, mean_time=0.0, failure_rate=0.0)
    except ValidationError as error:
        raise ConfigError(told(problems_of_options(error, {"name": "--profile"}), "")) from error


def override_profile(
    profile: SenderProfile, named: Mapping[str, str] | None = None, **changes: Any
) -> SenderProfile:
    """`profile` with those of `changes` that are not None, validated again.

    Args:
        profile: the profile.
        named: what the user calls the options, by key.
        changes: values by key.

    Raises:
        ConfigError: values are not allowed; it names them all.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return SenderProfile.model_validate({**profile.model_dump(), **given})
    except ValidationError as error:
        raise ConfigError(_told_options(error, given, named)) from error


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings, under dotted keys as error messages show them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_simulation(path: Path) -> tuple[dict[str, Any], Simulation]:
    return _parse(read_text(path), shown(path))


def _parse(text: str, name: str) -> tuple[dict[str, Any], Simulation]:
    """What a text says, and the simulation that this is."""
    try:
        content, line_of = read_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        raise ConfigError(f"{name}: must be a mapping of keys to values, got {kind}")
    try:
        simulation = Simulation.model_validate(content)
    except ValidationError as error:
        raise ConfigError(told(problems_in_file(error, line_of), name)) from error
    _require_unset(simulation, name, line_of)
    return content, simulation


def _require_unset(simulation: Simulation, name: str, line_of: LineOf) -> None:
    key, found = "messages_from", list[Problem]()
    if simulation.messages_from != "seed":
        what = "must be 'seed'; the others are set by a program"
        found.append(Problem(key, what, line_of((key,))))
    if simulation.recipients and simulation.recipients.contents:
        where = ("recipients", "contents")
        found.append(Problem(".".join(where), "is set by a program; leave it out", line_of(where)))
    if found:
        raise ConfigError(told(found, name))


def _beside(path: Path, recipients: Recipients) -> dict[str, Any]:
    """As a file says it, with the path from where we are."""
    return {**recipients.model_dump(), "file": str(path.parent / recipients.file)}


def _validate_options(
    content: Mapping[str, Any], overrides: Mapping[str, Any], named: Mapping[str, str] | None
) -> Simulation:
    try:
        return Simulation.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError(_told_options(error, overrides, named)) from error


def _told_options(
    error: ValidationError, overrides: Mapping[str, Any], named: Mapping[str, str] | None
) -> str:
    """What is wrong with options; without their names, what is wrong with the keys they set."""
    if named is None:
        return told(problems_of_options(error, {}), "option")
    given = {key: option for key, option in named.items() if _sets(overrides, key)}
    return told(problems_of_options(error, given), "")


def _sets(overrides: Mapping[str, Any], dotted_key: str) -> bool:
    key, _, rest = dotted_key.partition(".")
    return key in overrides and (not rest or rest in overrides[key])
