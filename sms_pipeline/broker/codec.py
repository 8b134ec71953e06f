"""JSON on the wire, by orjson: a batch is often more than a megabyte of text."""

from __future__ import annotations

from typing import Any

import orjson
from kombu import compression
from kombu.serialization import register
from kombu.utils import json as kombu_json

CONTENT_TYPE = "application/json"
#: Kombu marks values that JSON does not know, such as dates, with this key.
_KOMBU_TYPE = "__type__"


def dumps(value: object) -> bytes | str:
    """JSON, with dates as text; by kombu's own encoder where orjson knows no form of a value."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return str(kombu_json.dumps(value))


def loads(data: bytes | str | memoryview) -> Any:
    """What `dumps`, or kombu, wrote. A whole number of more than 64 bits comes back as a float.

    Raises:
        ValueError: not JSON.
    """
    value = orjson.loads(data)
    return kombu_json.loads(data) if _has_kombu_types(value) else value


def _has_kombu_types(value: object) -> bool:
    """Look only into containers: searching the text of a batch takes longer than decoding it."""
    containers = [value]
    while containers:
        container = containers.pop()
        if isinstance(container, dict):
            if _KOMBU_TYPE in container:
                return True
            container = container.values()
        elif not isinstance(container, list):
            continue
        containers += [item for item in container if isinstance(item, dict | list)]
    return False


def install() -> None:
    """Set up how this process reads messages: JSON by orjson, and nothing that is compressed."""
    register("json", dumps, loads, content_type=CONTENT_TYPE, content_encoding="utf-8")
    for name in compression.encoders():
        compress, _ = compression.get_encoder(name)
        compression.register(compress, _refuse, name)


def _refuse(data: bytes) -> bytes:
    """Kombu unpacks before it looks at anything else, and 680 bytes can stand for gigabytes."""
    raise ValueError("a compressed body is not unpacked")
