"""A simulation from a YAML file, overridden by options."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sms_pipeline.config.problems import first_problem
from sms_pipeline.config.reading import read_text, shown
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation, Threshold
from sms_pipeline.errors import ConfigError


def load_simulation(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Simulation:
    """Read `path` (None: the defaults), then override it key by key with `overrides` (options).

    Raises:
        ConfigError: unreadable file, broken YAML, or a value that is not allowed.
    """
    content = _read_mapping(path) if path else {}
    name = shown(path) if path else "configuration"
    simulation = _validate(content, name)
    if simulation.messages_from == "caller":
        raise ConfigError(
            f"{name}: messages_from: must be 'seed'; 'caller' is for send_sms.delay to set"
        )
    if not overrides:
        return simulation
    merged = dict(content)
    for key, value in overrides.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return _validate(merged, "option")


def override_simulation(simulation: Simulation, overrides: Mapping[str, Any]) -> Simulation:
    """`simulation` with `overrides` (from options), validated again.

    Raises:
        ConfigError: a value is not allowed.
    """
    return _validate({**simulation.model_dump(), **overrides}, "option")


def with_thresholds(simulation: Simulation, checks: Sequence[str]) -> Simulation:
    """`simulation` with more thresholds than it has, from `--threshold`.

    Raises:
        ConfigError: one of `checks` is not a check; the message points at the mistake.
    """
    try:
        added = tuple(Threshold(check=check) for check in checks)
    except ValidationError as error:
        raise ConfigError(first_problem(error, "--threshold")) from error
    together = (*simulation.thresholds, *added)
    return _validate({**simulation.model_dump(), "thresholds": together}, "--threshold")


def new_profile(name: str) -> SenderProfile:
    """A profile that no file knows; what it is like is for options to say.

    Raises:
        ConfigError: a profile can't have that name.
    """
    try:
        return SenderProfile(name=name, mean_time=0.0, failure_rate=0.0)
    except ValidationError as error:
        raise ConfigError(first_problem(error, "option --profile")) from error


def override_profile(profile: SenderProfile, **changes: Any) -> SenderProfile:
    """`profile` with those of `changes` that are not None, validated again.

    Raises:
        ConfigError: a value is not allowed.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return SenderProfile.model_validate({**profile.model_dump(), **given})
    except ValidationError as error:
        raise ConfigError(first_problem(error, f"option for profile {profile.name!r}")) from error


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings, under dotted keys as error messages show them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_mapping(path: Path) -> dict[str, Any]:
    text, name = read_text(path), shown(path)
    try:
        content = yaml.load(text, _UniqueKeyLoader)  # noqa: S506 - safe
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}: is not valid YAML: {_yaml_problem(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"{name}: must be a mapping of keys to values, got a {kind}")
    return content


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split()) or type(error).__name__


def _validate(content: Mapping[str, Any], source: str) -> Simulation:
    try:
        return Simulation.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError(first_problem(error, source)) from error


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML silently keeps the last of two equal keys; this loader refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"line {line}: key {key!r} is given twice; keep one")
            seen.add(key)
        self.flatten_mapping(node)
        return super().construct_mapping(node, deep)
