"""Links of a chain, and how rows that do not fit them are named."""

from __future__ import annotations

import pytest

from sms_pipeline.core.seal import Contents, Link, first_link, next_link


def begin(writer: str) -> Link:
    return first_link("ledger", 1, "digest", writer)


def test_links_over_other_rows_have_other_digests() -> None:
    before = begin("w")
    assert next_link(before, [b"a"]).digest != next_link(before, [b"b"]).digest


@pytest.mark.parametrize(
    ("rows", "named"), [(1, "(row)"), (2, "(row and 1 more)"), (1_235, "(row and 1,234 more)")]
)
def test_what_was_never_written_is_named_by_its_first_row(rows: int, named: str) -> None:
    # Given rows of which no link tells
    contents = Contents()
    for _ in range(rows):
        contents.add(("w", 1), "row", b"a")
    # When they are held against the links
    (problem,) = contents.against([], begin)
    # Then the first is named, and the others are counted
    assert problem.endswith(named)
