"""A batch survives the wire, or is refused without a word of its content."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.batch import Batch, is_batch_of
from sms_pipeline.core.errors import BadBatchError
from sms_pipeline.core.messages import SEPARATOR
from sms_pipeline.core.profiles import MAX_BATCH_SIZE
from tests.unit import make

SEEDS = st.integers(0, 2**63 - 1)
#: Stands in for what must never be shown.
CONTENT = "555-0123 meet at noon"


#: What JSON can spell in one entry of a column, with a lone half of a character among it.
JSON_TEXTS = st.lists(st.text("aé😀\ud83d", max_size=3), min_size=1, max_size=12)


def entries(column: str) -> list[str]:
    return column.split(SEPARATOR)


def task(batch: object) -> str:
    """The body of a message with one task, as Celery writes it."""
    return json.dumps([[batch], {}, {"callbacks": None}])


def through_json(batch: Batch) -> Batch:
    return Batch.from_wire(json.loads(json.dumps(batch.to_wire())))


def messages_of(batch: Batch) -> dict[int, tuple[str, str]]:
    """Message by index in the run."""
    indexes = (batch.first_index + batch.positions()).tolist()
    pairs = zip(entries(batch.to), entries(batch.text), strict=True)
    return dict(zip(indexes, pairs, strict=True))


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 60), st.integers(0, 4_000_000_000), st.data())
def test_remainders_of_remainders_keep_the_right_messages(
    seed: int, size: int, first: int, data: st.DataObject
) -> None:
    batch = make.batch(size, seed, first)
    whole = messages_of(batch)
    assert through_json(batch) == batch
    # When ever fewer messages are left
    for attempt in range(1, 4):
        left = data.draw(st.sets(st.sampled_from(batch.positions().tolist()), min_size=1))
        batch = through_json(batch.remainder(np.array(sorted(left))))
        # Then each keeps its index, number and text
        assert batch.positions().tolist() == sorted(left)
        assert messages_of(batch) == {first + offset: whole[first + offset] for offset in left}
        assert (batch.attempt, batch.count, batch.size) == (attempt, len(left), size)


def test_largest_batch_survives_the_wire() -> None:
    batch = make.batch(MAX_BATCH_SIZE)
    assert through_json(batch) == batch


def test_key_is_run_number_and_attempt() -> None:
    batch = make.batch(10, run=3, number=17)
    assert batch.key == (3, 17, 0)
    assert batch.remainder(np.array([2])).key == (3, 17, 1)
    assert batch.at_attempt(5, np.array([2])).key == (3, 17, 5)


@settings(max_examples=100, deadline=None)
@given(JSON_TEXTS, st.data())
def test_remainder_keeps_texts_whatever_is_in_them(texts: list[str], data: st.DataObject) -> None:
    # Given texts of several bytes a character, empty ones, and halves of characters
    size = len(texts)
    whole = make.batch(size, to=SEPARATOR.join(texts), text=SEPARATOR.join(reversed(texts)))
    left = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    part = Batch.from_wire(whole.remainder(np.array(left)).to_wire())
    assert entries(part.to) == [texts[offset] for offset in left]
    assert entries(part.text) == [texts[size - 1 - offset] for offset in left]


def test_description_shows_neither_numbers_nor_texts() -> None:
    batch = make.batch(10, number=17)
    assert batch.describe() == "run 1, batch 17: 10 SMS"
    assert batch.remainder(np.array([2, 5])).describe() == "run 1, batch 17: 2 SMS, attempt 2"


@pytest.mark.parametrize("body", [5, None, [1], {}, "x", True, 1.5, [], [{}], {"ledger": 1}])
def test_what_is_no_batch_is_refused(body: object) -> None:
    with pytest.raises(BadBatchError):
        Batch.from_wire(body)


BAD_VALUES: list[tuple[str, Any]] = [
    ("ledger", ""),
    ("ledger", 5),
    ("run", 0),
    ("run", "1"),
    ("run", True),
    ("number", -1),
    ("number", 1.5),
    ("first_index", -1),
    ("first_index", 4_000_000_001),
    ("size", 0),
    ("size", 9),
    ("size", 11),
    ("size", MAX_BATCH_SIZE + 1),
    ("profile", ""),
    ("profile", "a.b"),
    ("profile", "a b"),
    ("profile", "fast\n"),
    ("attempt", -1),
    ("attempt", None),
    ("queued_at", -1.0),
    ("queued_at", float("nan")),
    ("queued_at", float("inf")),
    ("queued_at", "now"),
    ("seed", -1),
    ("retry", None),
    ("retry", {"max_attempts": 0}),
    ("retry", {"surprise": 1}),
    ("deadline", 0),
    ("deadline", -1.0),
    ("to", CONTENT),
    ("to", [CONTENT] * 10),
    ("to", f"{CONTENT}\n" * 10),
    ("text", CONTENT),
    ("text", None),
    ("offsets", CONTENT),
    ("offsets", "ümlaut"),
    ("offsets", ""),
    ("offsets", 5),
    ("offsets", base64.b64encode(b"\xff").decode()),
    ("offsets", base64.b64encode(b"\xff\xff").decode()),
    ("offsets", base64.b64encode(b"\x00\x00").decode()),
    ("offsets", base64.b64encode(b"\x80\x00").decode()),
    ("surprise", CONTENT),
]


@pytest.mark.parametrize(("field", "value"), BAD_VALUES)
def test_bad_value_is_refused_and_not_repeated(field: str, value: Any) -> None:
    body = {**make.batch(10).to_wire(), field: value}
    with pytest.raises(BadBatchError) as caught:
        Batch.from_wire(body)
    message = str(caught.value)
    assert CONTENT not in message
    assert "\n" not in message
    # It names the field, unless it is the whole that does not fit, or the field is not ours
    assert message.startswith((f"{field}: ", f"{field}.", f"the {field} ", "the batch: "))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"run": 0}, "run"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({"size": 9}, "the batch"),
        ({"surprise": 1}, "the batch"),
        ({"retry": {"surprise": 1}}, "the batch"),
    ],
)
def test_refusal_names_what_is_wrong(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(BadBatchError) as caught:
        Batch.from_wire({**make.batch(10).to_wire(), **changed})
    assert str(caught.value).partition(": ")[0] == named


@pytest.mark.parametrize("change", ["{0}\n{1}", "{0}{1}=", "{0}", "{0}ü{1}"])
def test_offsets_with_anything_but_base64_are_refused(change: str) -> None:
    body = make.batch(10).remainder(np.array([3])).to_wire()
    Batch.from_wire(body)
    changed = change.format(body["offsets"][:2], body["offsets"][2:])
    with pytest.raises(BadBatchError, match=r"^the offsets "):
        Batch.from_wire({**body, "offsets": changed})


OPTIONAL = {
    "urgent",
    "window",
    "spared",
    "events",
    "offsets",
    "deadline",
    "boot",
    "offset",
    "failover",
    "came_from",
}


@pytest.mark.parametrize("field", sorted({*make.batch(1).to_wire()} - OPTIONAL))
def test_missing_field_is_named(field: str) -> None:
    body = make.batch(10).to_wire()
    del body[field]
    with pytest.raises(BadBatchError, match=field):
        Batch.from_wire(body)


@pytest.mark.parametrize("unknown", [{CONTENT: 1}, {"retry": {CONTENT: 1}}])
def test_unknown_field_is_not_repeated(unknown: dict[str, Any]) -> None:
    # A key of the body is content like any other
    body = {**make.batch(10).to_wire(), **unknown}
    with pytest.raises(BadBatchError) as caught:
        Batch.from_wire(body)
    assert CONTENT not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_any_json_is_refused_without_another_error(body: object) -> None:
    with pytest.raises(BadBatchError):
        Batch.from_wire(body)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(make.batch(1).to_wire())), JSON)
def test_any_value_in_a_field_is_accepted_or_refused_without_another_error(
    field: str, value: object
) -> None:
    body = {**make.batch(10).to_wire(), field: value}
    try:
        batch = Batch.from_wire(body)
    except BadBatchError:
        return
    assert len(entries(batch.to)) == len(entries(batch.text)) == batch.count


# Whose batch it is


@pytest.mark.parametrize(
    "body",
    [task({"ledger": "ours", "run": 3}), task({"ledger": "ours", "run": 3, "more": 5}).encode()],
)
def test_batch_of_a_run_is_known_by_its_ledger_and_number(body: object) -> None:
    assert is_batch_of(body, "ours", 3)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(task({"ledger": "theirs", "run": 3}), id="of another ledger"),
        pytest.param(task({"ledger": "ours", "run": 4}), id="of another run"),
        pytest.param(task({"ledger": "ours"}), id="of no run"),
        pytest.param(task({"run": 3}), id="of no ledger"),
        pytest.param(task(5), id="a number"),
        pytest.param(task([5]), id="a list"),
        pytest.param("[[]]", id="no argument"),
        pytest.param("[[1, 2]]", id="two arguments"),
        pytest.param('{"ledger": "ours", "run": 3}', id="no task"),
        pytest.param("ours", id="not JSON"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param(None, id="nothing"),
    ],
)
def test_anything_else_is_no_batch_of_it(body: object) -> None:
    assert not is_batch_of(body, "ours", 3)
