"""A configuration to begin with: every key, with what it means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from sms_pipeline.config.schema import SCHEMA_FILE
from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.simulation import Simulation

_WIDTH = 100
#: What most people change first; the other keys are there as comments.
_SAID = {"num_messages", "senders"}
#: Not for a file.
_LEFT_OUT = {"messages_from"}
_INDENT = "  "

_HEAD = """\
# yaml-language-server: $schema={schema}
# What to rehearse. Every key may be left out.
# A time is a number of seconds, or has a unit: 500ms, 30s, 10m, 2h.
# To use one that begins with #, remove that sign: then the default, or an example, is what counts.
#   sms-pipeline validate {file}    checks this file and tells what it means
#   sms-pipeline run {file}         rehearses it
"""


def starter_text(file: str) -> str:
    """The text of a new configuration that is called `file`."""
    simulation = Simulation()
    parts = [_HEAD.format(schema=f"./{SCHEMA_FILE}", file=file)]
    for name, info in Simulation.model_fields.items():
        if name not in _LEFT_OUT:
            lines = list(_entry(name, info, getattr(simulation, name)))
            said = lines if name in _SAID else [_unsaid(line) for line in lines]
            parts.append("\n".join([*_comment(info.description), *said]) + "\n")
    return "\n".join(parts)


def _entry(name: str, info: FieldInfo, value: Any) -> Iterator[str]:
    """A key with its value, in as many lines as it takes."""
    if isinstance(value, Frozen):
        yield f"{name}:"
        yield from _indented(_model(value))
    elif isinstance(value, tuple) and value and isinstance(value[0], Frozen):
        yield f"{name}:"
        first, *others = value
        yield from _item(list(_model(first)))
        for other in others:
            given = {key: getattr(other, key) for key in _fields(other) if _is_said(other, key)}
            yield f"{_INDENT}- {_flow(given)}"
    else:
        yield f"{name}: {_flow(_shown(info, value))}"


def _model(value: Frozen) -> Iterator[str]:
    """Each key of a mapping below what it means; those that are not set are comments."""
    for name in _fields(value):
        info = type(value).model_fields[name]
        line = f"{name}: {_flow(_shown(info, getattr(value, name)))}"
        yield from _comment(info.description)
        yield line if _is_said(value, name) else _unsaid(line)


def _fields(value: Frozen) -> list[str]:
    """Its keys, those that are set first: a list's dash stands before one of them."""
    return sorted(type(value).model_fields, key=lambda name: not _is_said(value, name))


def _is_said(value: Frozen, name: str) -> bool:
    # Of a mapping that is all defaults every key is of interest.
    return name in value.model_fields_set or not value.model_fields_set


def _shown(info: FieldInfo, value: Any) -> Any:
    """The value; in place of one that says nothing, an example."""
    return info.examples[0] if not value and info.examples else value


def _item(lines: list[str]) -> Iterator[str]:
    yield f"{_INDENT}- {lines[0]}"
    yield from _indented(lines[1:], _INDENT * 2)


def _indented(lines: Any, indent: str = _INDENT) -> Iterator[str]:
    return (f"{indent}{line}" for line in lines)


def _unsaid(line: str) -> str:
    """As a comment."""
    return f"#{line}"


def _comment(text: str | None) -> list[str]:
    if not text:
        return []
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")


def _flow(value: Any) -> str:
    dumped = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10 * _WIDTH
    )
    return dumped.removesuffix("\n").removesuffix("\n...")
