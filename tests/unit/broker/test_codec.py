"""JSON on the wire: orjson's, and kombu's own where a value is not plain JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import compression, serialization
from kombu.utils import json as kombu_json

from sms_pipeline.broker import codec
from tests.unit import make

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
ODD = [Decimal("0.1"), {"raw": [b"\x00"]}]


@settings(max_examples=100, deadline=None)
@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    assert codec.loads(codec.dumps(value)) == value


@pytest.mark.parametrize("value", ODD)
def test_values_that_json_does_not_know_come_back_as_kombu_has_them(value: object) -> None:
    ours, theirs = codec.dumps(value), kombu_json.dumps(value)
    assert codec.loads(ours) == kombu_json.loads(theirs) == value


def test_dates_travel_as_text() -> None:
    assert codec.loads(codec.dumps(datetime(2023, 11, 14, 12, 30))) == "2023-11-14T12:30:00"


@pytest.mark.parametrize("value", [*ODD, {"a": [1, {"b": None}]}, "text"])
def test_what_kombu_wrote_is_read(value: object) -> None:
    assert codec.loads(kombu_json.dumps(value)) == value
    assert codec.loads(kombu_json.dumps(value).encode()) == value


@pytest.mark.parametrize("value", [{"a": [[{"__type__": 1}]]}, [{"b": {"__type__": "x"}}]])
def test_what_kombu_marks_is_found_however_deep(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kombu_json, "loads", lambda data: "kombu's")
    assert codec.loads(json.dumps(value)) == "kombu's"
    assert codec.loads('["__type__", {"a": "__type__"}]') == ["__type__", {"a": "__type__"}]


def test_what_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unexpected"):
        codec.loads(b"[[1")


def test_celery_encodes_and_decodes_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    codec.install()
    body: tuple[Any, ...] = [make.batch(2).to_wire()], {}, None
    content_type, encoding, data = serialization.dumps(body, "json")
    assert (content_type, encoding) == ("application/json", "utf-8")
    # Kombu's own puts a blank after each comma
    assert data == codec.dumps(body)
    decoded: list[object] = []

    def loads(data: object) -> list[object]:
        decoded.append(data)
        return []

    monkeypatch.setattr(orjson, "loads", loads)
    serialization.loads(data, content_type, encoding, accept=[content_type])
    assert len(decoded) == 1


@pytest.mark.parametrize("name", sorted({*compression.encoders(), "gzip", "zlib"}))
def test_nothing_is_unpacked(name: str) -> None:
    codec.install()
    packed, content_type = compression.compress(b"0" * 1_000, name)
    with pytest.raises(ValueError, match="not unpacked"):
        compression.decompress(packed, content_type)


def test_app_installs_it() -> None:
    script = (
        "from sms_pipeline.celery import app; from kombu import serialization;"
        "print(serialization.dumps([1, 2], app.conf.task_serializer)[2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "b'[1,2]'\n"
