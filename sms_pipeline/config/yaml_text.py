"""YAML with the lines that its values stand on; a key that is given twice is refused."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from sms_pipeline.config.problems import LineOf, Location
from sms_pipeline.core.errors import ConfigError


def read_yaml(text: str) -> tuple[Any, LineOf]:
    """What a text says, and where it says what.

    Raises:
        ConfigError: it is not valid YAML, or has a key twice.
    """
    try:
        loader = _UniqueKeyLoader(text)
        node = loader.get_single_node()
        content = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(_yaml_problem(error)) from error
    return content, lambda location: _line_of(node, location)


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: is not valid YAML: {error.problem}"
    return f"is not valid YAML: {' '.join(str(error).split()) or type(error).__name__}"


def _line_of(node: yaml.Node | None, location: Location) -> int | None:
    """The line of a value's key; if it has none, of what it is missing from."""
    line = None
    for part in location:
        found = _step(node, part)
        if found is None:
            break
        place, node = found
        line = place.start_mark.line + 1
    return line


def _step(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Where an entry begins, and its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return (node.value[part], node.value[part]) if part < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        # The last of two is the one that counts: before it stands what was merged in by `<<`.
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    return None


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
