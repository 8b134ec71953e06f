"""Every error belongs to one family and says with which code a process ends."""

from __future__ import annotations

import pytest

from sms_pipeline.core import errors
from sms_pipeline.core.errors import (
    EXIT_BROKEN,
    EXIT_FAILURE,
    EXIT_THRESHOLD,
    EXIT_USAGE,
    PipelineError,
    printable,
)

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_is_one_of_the_family_and_says_what_it_means(kind: type[PipelineError]) -> None:
    assert issubclass(kind, PipelineError)
    assert kind.__doc__
    assert kind.exit_code in (EXIT_FAILURE, EXIT_USAGE, EXIT_THRESHOLD, EXIT_BROKEN)


@pytest.mark.parametrize("name", ["ConfigError", "UnknownRunError", "NeedsBrokerError"])
def test_what_the_user_can_put_right_ends_with_2(name: str) -> None:
    assert getattr(errors, name).exit_code == 2


def test_exit_codes_differ() -> None:
    codes = [value for name, value in vars(errors).items() if name.startswith("EXIT_")]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n二行", "plain\n二行"),
        ("red \x1b[31m", "red \\u001b[31m"),
        ("last of four digits \uffff", "last of four digits \\uffff"),
        ("first of more \U000f0000", "first of more \\U000f0000"),
        ("a space\u3000of another script\x07", "a space\u3000of another script\\u0007"),
        ("a line\u2028of another kind", "a line\\u2028of another kind"),
    ],
)
def test_no_terminal_obeys_what_is_printed(text: str, shown: str) -> None:
    assert printable(text) == shown
