"""Messages that no worker can make sense of."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

TASK = "sms_pipeline.send_sms"
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}

#: Deep enough to break a recursive parser.
DEPTH = 100_000

#: The end of a task's body: no callbacks.
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

#: A batch as it travels, but for its ledger.
GOOD: dict[str, Any] = {
    "run": 1,
    "number": 0,
    "first_index": 0,
    "size": 1,
    "profile": "chaos",
    "attempt": 0,
    "started_at": 0.0,
    "queued_at": 0.0,
    "seed": 1,
    "retry": {"max_attempts": 1, "backoff": 0.0, "backoff_max": 0.0, "jitter": 0.0},
    "deadline": None,
    "to": "200-200-0000",
    "text": "x",
    "offsets": None,
}


def letters(ledger: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Arguments of `Producer.publish`, in random order."""
    found = [*_not_tasks(), *_tasks(ledger)]
    rng.shuffle(found)
    yield from found


def leftover() -> dict[str, Any]:
    """A good batch, of another ledger."""
    return {"body": _body({**GOOD, "ledger": "another"}), **JSON, "headers": _headers(TASK)}


def _not_tasks() -> Iterator[dict[str, Any]]:
    for body in ("5", "null", "[1]", "{}", '"text"', "[[], {}, {}]"):
        yield {"body": body, **JSON}
    yield {"body": "no JSON", **JSON}
    yield {"body": "", **JSON}
    yield {"body": b"\xff\xfe\x00", **JSON}
    yield {"body": "[" * DEPTH, **JSON}
    # Never unpickled: a pickle can run code.
    yield {"body": b"\x80\x04N.", "content_type": "application/x-python-serialize"}
    yield {"body": "plain", "content_type": "text/plain", "content_encoding": "utf-8"}
    for body in ("5", "null", "no JSON", "[" * DEPTH):
        yield {"body": body, **JSON, "headers": _headers(TASK)}
    yield {"body": _body({}), **JSON, "headers": {"task": TASK}}
    yield {"body": _body({}), **JSON, "headers": {"id": "1"}}
    yield {"body": _body({}), **JSON, "headers": {**_headers(TASK), "eta": "yesterday"}}


def _tasks(ledger: str) -> Iterator[dict[str, Any]]:
    good = {**GOOD, "ledger": ledger}
    bad: list[object] = [
        {**good, "run": 999_999},
        {**good, "profile": "nobody"},
        {**good, "size": 2},
        {**good, "size": -1},
        {**good, "attempt": "first"},
        {**good, "offsets": "!"},
        {**good, "more": 1},
        {},
    ]
    for argument in (*bad, None, 5, "batch", []):
        yield {"body": _body(argument), **JSON, "headers": _headers(TASK)}
    no_arguments = json.dumps([[], {}, EMBED])
    too_many = json.dumps([[good, good], {}, EMBED])
    yield {"body": no_arguments, **JSON, "headers": _headers(TASK)}
    yield {"body": too_many, **JSON, "headers": _headers(TASK)}
    yield {"body": _body(good), **JSON, "headers": _headers("sms_pipeline.unknown")}


def _body(argument: object) -> str:
    return json.dumps([[argument], {}, EMBED])


def _headers(task: str) -> dict[str, Any]:
    identity = str(uuid.uuid4())
    return {
        "lang": "py",
        "task": task,
        "id": identity,
        "root_id": identity,
        "parent_id": None,
        "group": None,
    }
