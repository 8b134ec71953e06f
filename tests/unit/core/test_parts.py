"""Parts of an SMS, against a codec of its own and the standard's edges."""

from __future__ import annotations

import time

import gsm0338
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_pipeline.core.messages import SEPARATOR, make_columns
from sms_pipeline.core.parts import GSM_BASIC, GSM_EXTENSION, count_parts, parts_per_message
from sms_pipeline.core.recipients import Contents, Recipients
from sms_pipeline.core.simulation import Simulation

CODEC = gsm0338.Codec()
ESCAPE = 0x1B
#: All characters that texts here are made of: those of GSM, foreign ones, ones of two units.
ALL = GSM_BASIC.replace(SEPARATOR, "") + GSM_EXTENSION + "çÀЖ中`\t\x1b" + "😀🚨\U0010ffff"


def slow_parts(text: str) -> int:
    """One character after the other, each whole in one part."""
    try:
        # The codec lets the escape itself pass; no phone shows it.
        encoded = CODEC.encode(text.replace(chr(ESCAPE), "Ж"))[0]
        sizes, alone, several = [], 160, 153
        for code in encoded:
            if sizes and sizes[-1] == -1:
                sizes[-1] = 2
            else:
                sizes.append(-1 if code == ESCAPE else 1)
    except UnicodeEncodeError:
        sizes, alone, several = [len(c.encode("utf-16-le")) // 2 for c in text], 70, 67
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, several
    for size in sizes:
        if size > room:
            parts, room = parts + 1, several
        room -= size
    return parts


def parts(*texts: str) -> list[int]:
    return count_parts(SEPARATOR.join(texts)).tolist()


def test_the_alphabet_is_that_of_the_codec() -> None:
    assert len(GSM_BASIC) == len(set(GSM_BASIC)) == 127
    assert [len(CODEC.encode(c)[0]) for c in GSM_BASIC] == [1] * 127
    assert [len(CODEC.encode(c)[0]) for c in GSM_EXTENSION] == [2] * 10


texts = st.lists(
    st.text(st.sampled_from(ALL), max_size=400)
    | st.text(st.sampled_from(GSM_EXTENSION + "a"), min_size=150, max_size=320)
    | st.text(st.sampled_from("Ж😀"), min_size=30, max_size=150),
    min_size=1,
    max_size=12,
)


@given(some=texts)
def test_parts_are_those_of_a_walk_over_every_character(some: list[str]) -> None:
    assert parts(*some) == [slow_parts(text) for text in some]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        # An extension character takes two septets …
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        # … which are never split: 76 fit into a part, and a septet stays empty.
        ("]" * 153, 3),
        ("]" * 152, 2),
        ("a" + "]" * 152, 2),
        ("\f" * 80 + "a", 2),
        # The escape alone is no character.
        ("\x1b" * 71, 2),
        # One foreign character makes all of it foreign, and extension characters count one again.
        ("Ж" * 70, 1),
        ("Ж" * 71, 2),
        ("Ж" + "€" * 69, 1),
        ("Ж" * 134, 2),
        ("Ж" * 135, 3),
        # Two units each, which are never split: 33 fit into a part.
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        ("a" + "😀" * 66, 2),
        # These look like GSM characters and are none.
        ("ç" + "a" * 70, 2),
        ("`" + "a" * 70, 2),
        ("\t" + "a" * 70, 2),
        # Half a character, as JSON can hold it.
        ("\udc00" * 71, 2),
    ],
)
def test_edges(text: str, expected: int) -> None:
    assert parts(text) == [expected]
    assert parts("a", text, "😀€", text) == [1, expected, 1, expected]


def test_a_line_break_inside_a_text_is_a_character() -> None:
    assert parts("a\r" * 80) == [1]
    assert parts("a\r" * 80 + "a") == [2]


def test_generated_texts_take_one_part_if_they_are_short() -> None:
    assert set(count_parts(make_columns(1, 0, 5_000, 160, "e164").text)) == {1}
    assert set(count_parts(make_columns(1, 0, 5_000, 161, "e164").text)) == {1, 2}


@pytest.mark.parametrize("word", ["Evacuate", "Évacuez", "Эвакуация"])
def test_a_batch_takes_milliseconds(word: str) -> None:
    texts = make_columns(1, 0, 5_000, 100, "e164").text.replace(SEPARATOR, f"{SEPARATOR}{word} ")
    # Less than 0.3 s for a million where the machine has time; a walk takes ten times as long.
    assert min(_seconds(texts) for _ in range(30)) < 0.6 / 200


def _seconds(texts: str) -> float:
    start = time.perf_counter()
    count_parts(texts)
    return time.perf_counter() - start


def test_how_many_parts_the_texts_of_a_run_take() -> None:
    assert parts_per_message(Simulation(), 7) == 1
    assert parts_per_message(Simulation(max_text_length=70, alphabet="ucs-2"), 7) == 1
    # Lengths are 1 to 306: 160 of them take one part, the others two.
    some = parts_per_message(Simulation(num_messages=10**6, max_text_length=306), 7)
    assert some == pytest.approx(1 + 146 / 306, rel=0.02)
    # A small run is counted whole.
    few = Simulation(num_messages=3, max_text_length=300, alphabet="mixed")
    assert parts_per_message(few, 7) == count_parts(few.columns(7, 0, 3).text).mean()


def test_parts_of_texts_that_are_not_kept() -> None:
    assert parts_per_message(Simulation(messages_from="caller"), 7) is None
    contents = Contents(sha256="0" * 64, rows=10, columns=("to",), parts=12, message_bytes=30)
    recipients = Recipients(file="people.csv", contents=contents)
    to_file = Simulation(
        num_messages=8, recipients=recipients, text="Go", messages_from="recipients"
    )
    assert parts_per_message(to_file, 7) == 1.5
