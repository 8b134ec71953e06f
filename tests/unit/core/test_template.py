"""Texts with fields."""

from __future__ import annotations

import pytest

from sms_pipeline.core.messages import joined
from sms_pipeline.core.template import Template


def fill(text: str, *columns: list[str]) -> list[str]:
    return Template(text).fill(columns, 2)


def test_each_row_has_its_own_values() -> None:
    filled = fill("{name}: leave {zone} now, {name}!", ["Ann", "Bob"], ["north", "south"])
    assert filled == ["Ann: leave north now, Ann!", "Bob: leave south now, Bob!"]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", ()),
        ("now", ()),
        ("{a}", ("a",)),
        ("{b}{a}{b}", ("b", "a")),
        ("{{a}}", ()),
        ("{{{a}}}", ("a",)),
        ("{first name}", ("first name",)),
        # Nothing is looked up in a value, and nothing is formatted.
        ("{a.b}{a!r}{a:>9}{0}", ("a.b", "a!r", "a:>9", "0")),
    ],
)
def test_fields_are_named_once_in_their_order(text: str, fields: tuple[str, ...]) -> None:
    assert Template(text).fields == fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100% {{sure}}", "100% {sure}"),
        ("%s %(a)s %%", "%s %(a)s %%"),
        ("first\nsecond", "first\nsecond"),
        ("{{", "{"),
    ],
)
def test_what_is_no_field_is_said_as_it_stands(text: str, expected: str) -> None:
    assert fill(text) == [expected, expected]


def test_a_value_is_said_as_it_stands() -> None:
    assert fill("{a}", ["{b} 100%", "}}"]) == ["{b} 100%", "}}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("go {", "single '{' at character 4"),
        ("go } now", "single '}' at character 4"),
        ("{a}}", "single '}' at character 4"),
        ("{a{b}}", "single '{' at character 1"),
        ("{}", "field without a name at character 1"),
        ("{ }", "field without a name"),
        ("{a\nb}", "single '{'"),
    ],
)
def test_a_brace_too_many_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Template(text)


@pytest.mark.parametrize("text", ["{a}", "Go {a}\nnow\r\n", "now", "{a}{a}", "{b}{a}", "\0{a}\0"])
@pytest.mark.parametrize(
    "values", [["x", "y"], ["x\ny", "z"], ["x\r\n", "\r"], ["x\r", "y"], ["", ""]]
)
def test_a_column_has_the_texts(text: str, values: list[str]) -> None:
    template = Template(text)
    columns = [values for _ in template.fields]
    assert template.column(columns, 2) == joined(template.fill(columns, 2))
