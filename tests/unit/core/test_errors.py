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
