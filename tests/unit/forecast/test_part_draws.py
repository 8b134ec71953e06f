"""How many parts the messages of a simulated run have."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.parts import count_parts
from sms_pipeline.forecast.part_draws import parts_in
from tests.unit import make

BATCH = make.batch(10_000)


def simulation(text: str, **contents: Any) -> Any:
    recipients: dict[str, Any] = {"file": "people.csv"}
    if contents:
        found = {"sha256": "0" * 64, "rows": 1_000, "columns": ("to",), "message_bytes": 100}
        recipients["contents"] = found | contents
    return make.simulation(num_messages=1_000, recipients=recipients, text=text)


def test_short_texts_have_one_part() -> None:
    assert (parts_in(make.simulation())(BATCH) == 1).all()


def test_random_texts_have_as_many_as_texts_of_such_a_run() -> None:
    drawn = parts_in(make.simulation(max_text_length=1_000))(BATCH)
    real = count_parts(make_columns(3, 0, 10_000, 1_000, "e164").text)
    assert drawn.mean() == pytest.approx(real.mean(), rel=0.03)
    assert set(drawn) == set(real)


def test_texts_of_another_alphabet_have_more() -> None:
    of_plain, of_cyrillic = (
        parts_in(make.simulation(max_text_length=160, alphabet=alphabet))(BATCH)
        for alphabet in ("plain", "ucs-2")
    )
    assert set(of_plain) == {1}
    assert set(of_cyrillic) == {1, 2, 3}


def test_texts_to_recipients_have_as_many_as_were_found_in_their_file() -> None:
    drawn = parts_in(simulation("Hi {name}", parts=2_300, columns=("to", "name")))(BATCH)
    assert set(drawn) == {2, 3}
    assert drawn.mean() == pytest.approx(2.3, abs=0.03)


def test_before_the_file_is_read_the_text_counts_as_it_stands() -> None:
    assert set(parts_in(simulation("Hi " + "x" * 160))(BATCH)) == {2}


def test_an_attempt_draws_the_same_parts_again() -> None:
    parts = parts_in(make.simulation(max_text_length=1_000))
    assert (parts(BATCH) == parts(BATCH)).all()
    assert (parts(BATCH) != parts(BATCH.model_copy(update={"attempt": 1}))).any()
