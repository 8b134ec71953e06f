"""Columns and status words are guessed, or named; what is unclear is refused."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.forecast.log_columns import Status, choose_columns, masked, status_words


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (
            "sent_at,done_at,state,carrier",
            "sent=sent_at, ended=done_at, status=state, profile=carrier",
        ),
        ("Date Sent,Date Updated,Status", "sent=Date Sent, ended=Date Updated, status=Status"),
        (
            "id,to,submit-date,done-date,dlr-status,network,updated_at",
            "sent=submit-date, ended=done-date, status=dlr-status, profile=network",
        ),
    ],
)
def test_usual_names_are_guessed_and_said(header: str, chosen: str) -> None:
    columns = choose_columns(header.split(","), [])
    assert str(columns) == chosen
    assert columns.guessed == tuple(part.split("=")[0] for part in chosen.split(", "))


def test_what_is_named_is_not_guessed() -> None:
    header = ["a", "b", "state", "c"]
    columns = choose_columns(header, ["sent=a, ended=b", "profile=C"])
    assert columns == ("a", "b", "state", "c", ("status",))


@pytest.mark.parametrize(
    ("header", "chosen", "why"),
    [
        ("a,ended,status", [], "no column for 'sent' (when an attempt began)"),
        ("sent,b,status", [], "no column for 'ended'"),
        ("sent,ended,c", [], "no column for 'status'"),
        ("sent,ended,status,status", [], "no column for 'status'"),
        ("sent,ended,status", ["sent=begin"], "sent: there is no column 'begin'"),
        ("sent,ended,status,Sent", ["sent=SENT"], "sent: there is more than one column 'SENT'"),
        ("sent,ended,status", ["begin=sent"], "must be KEY=COLUMN with KEY one of sent, ended"),
        ("sent,ended,status", ["sent"], "must be KEY=COLUMN"),
        ("sent,ended,status", ["sent="], "must be KEY=COLUMN"),
        ("sent,ended,status", [""], "must be KEY=COLUMN"),
    ],
)
def test_what_is_unclear_is_refused(header: str, chosen: list[str], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_columns(header.split(","), chosen)
    assert why in str(caught.value)


def test_a_missing_column_is_refused_with_those_there_are_and_the_way_out() -> None:
    with pytest.raises(ConfigError) as caught:
        choose_columns(["begin", "202-555-0123"], [])
    assert "the header has 'begin', '###-###-####'" in str(caught.value)
    assert "--columns sent=COLUMN" in str(caught.value)


def test_not_all_of_many_columns_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        choose_columns(["x"] * 1_000, [])
    assert len(str(caught.value)) < 200
    assert "…" in str(caught.value)


def test_words_that_are_explained_go_before_those_that_are_known() -> None:
    words = status_words(["Sent=delivered", "a=b = failed"])
    assert words["sent"] is Status.DELIVERED
    assert words["a=b"] is Status.FAILED
    assert words["delivrd"] is Status.DELIVERED


@pytest.mark.parametrize("pair", ["gone", "gone=away", "=", "gone="])
def test_a_word_without_a_meaning_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="option --status: must be WORD=MEANING"):
        status_words([pair])


def test_a_value_is_repeated_without_digits_and_on_one_line() -> None:
    assert masked("+1 (202)\n555-0123") == "'+# (###) ###-####'"
    assert len(masked("x" * 1_000)) < 50
