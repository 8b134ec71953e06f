"""JSON on the wire, by orjson: a batch is some 300 kB of text, and Celery decodes it twice."""

from __future__ import annotations

from typing import Any

import orjson
from kombu.serialization import register
from kombu.utils import json as kombu_json

#: Kombu marks values that JSON does not know, such as dates, with this key.
_KOMBU_TYPE = b'"__type__"'


def dumps(value: object) -> bytes | str:
    """JSON as kombu writes it; kombu's own encoder where a value is not plain JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return str(kombu_json.dumps(value))


def loads(data: bytes | str | memoryview) -> Any:
    """What `dumps`, or kombu, wrote.

    Raises:
        ValueError: not JSON.
    """
    body = data.encode() if isinstance(data, str) else bytes(data)
    return kombu_json.loads(body) if _KOMBU_TYPE in body else orjson.loads(body)


def install() -> None:
    """Replace kombu's codec of the content type application/json in this process."""
    register("json", dumps, loads, content_type="application/json", content_encoding="utf-8")
