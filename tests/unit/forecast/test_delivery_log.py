"""Delivery logs are read as providers write them, or refused with the row."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import PROFILE_NAME
from sms_pipeline.forecast.delivery_log import MAX_PROFILES, MAX_ROW_BYTES, DeliveryLog, read_log
from sms_pipeline.forecast.log_columns import Status
from tests.unit.forecast.logs import HEADER, write_log

ROW = "2026-11-26T08:15:00Z,2026-11-26T08:15:02.5Z,delivered,att"
SENT = 1_795_680_900.0


def read(path: Path, *rows: str, header: str = HEADER, **options: list[str]) -> DeliveryLog:
    """A log with these rows, after it was written."""
    return read_log(write_log(path / "log.csv", rows, header), **options)


def refusal(path: Path, *rows: str, header: str = HEADER, **options: list[str]) -> str:
    """Why a log is refused, without its name."""
    with pytest.raises(ConfigError) as caught:
        read(path, *rows, header=header, **options)
    return of(path / "log.csv", caught.value)


def of(path: Path, error: ConfigError) -> str:
    """What is wrong with a file, on one line."""
    (line,) = str(error).splitlines()
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


# What is read


def test_a_row_is_an_attempt(tmp_path: Path) -> None:
    log = read(tmp_path, ROW, ROW.replace("delivered", "failed").replace("att", "verizon"))
    assert log.rows == 2
    assert list(log.profiles) == ["att", "verizon"]
    att = log.profiles["att"]
    assert att.sent.tolist() == [SENT]
    assert att.ended.tolist() == [SENT + 2.5]
    assert att.status.tolist() == [Status.DELIVERED]
    assert log.profiles["verizon"].status.tolist() == [Status.FAILED]


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-26T08:15:00Z",
        "2026-11-26 08:15:00",
        "2026-11-26T09:15:00.000+01:00",
        "20261126T081500Z",
        " 2026-11-26T08:15 ",
        "1795680900",
        "1795680900.000",
        "1.7956809e9",
    ],
)
def test_times_are_iso_8601_or_seconds_since_1970(tmp_path: Path, time: str) -> None:
    log = read(tmp_path, f"{time},{time},delivered,att")
    assert log.profiles["att"].sent.tolist() == [SENT]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Delivered", Status.DELIVERED),
        ("DELIVRD", Status.DELIVERED),
        ("UNDELIV", Status.FAILED),
        ("Not Delivered", Status.FAILED),
        ("sent", Status.PENDING),
        ("", Status.PENDING),
        ("OKAY-7", Status.DELIVERED),
        ("gone", Status.FAILED),
    ],
)
def test_status_words_are_those_of_providers_and_those_that_are_explained(
    tmp_path: Path, word: str, status: Status
) -> None:
    words = ["okay-7=delivered", "GONE=failed"]
    log = read(tmp_path, *[ROW.replace("delivered", word)] * 2, words=words)
    assert log.profiles["att"].status.tolist() == [status] * 2


def test_no_end_is_a_missing_receipt(tmp_path: Path) -> None:
    log = read(tmp_path, f"{SENT},,sent,att", f"{SENT}, ,delivered,att")
    assert np.isnan(log.profiles["att"].ended).all()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_may_be_parted_by_what_spreadsheets_use(tmp_path: Path, delimiter: str) -> None:
    log = read(tmp_path, ROW.replace(",", delimiter), header=HEADER.replace(",", delimiter))
    assert log.rows == 1


def test_packed_files_and_byte_order_marks_and_empty_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(f"\ufeff{HEADER}\r\n{ROW}\r\n\r\n{ROW}\r\n".encode()))
    log = read_log(path)
    assert log.rows == 2
    assert log.columns.sent == "sent_at"


def test_a_log_without_profiles_is_one(tmp_path: Path) -> None:
    log = read(tmp_path, f"{SENT},{SENT},ok", header="sent,ended,status")
    assert list(log.profiles) == ["fleet"]
    assert log.columns.profile is None


def test_names_become_those_that_a_queue_may_have_and_stay_apart(tmp_path: Path) -> None:
    names = ["T-Mobile US", "T-Mobile/US", "", "ümlaut", "x" * 100, "."]
    rows = [f"{SENT},{SENT},ok,{name}" for name in names]
    log = read(tmp_path, *rows)
    assert len(log.profiles) == len(names)
    assert all(PROFILE_NAME.fullmatch(name) for name in log.profiles)
    assert log.renamed["T-Mobile US"] == "T-Mobile-US"
    assert log.renamed["T-Mobile/US"] == "T-Mobile-US-2"
    assert log.renamed[""] == "unknown"


def test_a_row_takes_few_bytes(tmp_path: Path) -> None:
    rows = 50_000
    path = write_log(tmp_path / "log.csv", [ROW + " " * 20] * rows)
    tracemalloc.start()
    log = read_log(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert log.rows == rows
    # Three columns of 8, 8 and 1 bytes grow by an eighth at a time, and are copied then
    assert peak / rows < 50


# What is refused


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a,b", "the number of its fields is 2, that of the header 4"),
        (ROW + ",", "the number of its fields is 5, that of the header 4"),
        (ROW.replace("delivered", "teleported"), "unknown status 'teleported'"),
        (ROW.replace("2026-11-26T08:15:00Z", "26/11/2026"), "'sent_at' is no time: '##/##/####'"),
        (ROW.replace("2026-11-26T08:15:00Z", ""), "'sent_at' is no time: ''"),
        (ROW.replace("2026-11-26T08:15:02.5Z", "soon"), "'done_at' is no time: 'soon'"),
        (ROW.replace("2026-11-26T08:15:02.5Z", "2026-13-01"), "'done_at' is no time"),
        (ROW.replace("2026-11-26T08:15:00Z", "nan"), "'sent_at' is no time"),
        (ROW.replace("2026-11-26T08:15:00Z", "-5"), "'sent_at' is no time"),
        (ROW.replace("2026-11-26T08:15:00Z", "0001-01-01T00:00+23:00"), "'sent_at' is no time"),
        (f"{SENT}000,{SENT},ok,att".replace(".0", ""), "not in seconds since 1970"),
        (f"{SENT},{SENT - 3.5},ok,att", "time goes backwards: 'done_at' is 3.5 s before 'sent_at'"),
        ('"' + ROW, "is not CSV: a quote is not closed"),
        ('"a"b,' + ROW, "is not CSV: something follows a closing quote"),
        (ROW + "\x00\r" + ROW, "is not CSV: a line ends with a carriage return only"),
        ("x" * MAX_ROW_BYTES, "is longer than 1,000,000 bytes"),
    ],
    ids=lambda text: text[:40],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, why: str) -> None:
    line = refusal(tmp_path, ROW, ROW, row)
    assert line.startswith("row 4: ")
    assert why in line


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(f"{HEADER}\n{ROW}\n{ROW.replace('att', 'Übertel')}\n".encode(encoding))
    with pytest.raises(ConfigError) as caught:
        read_log(path)
    assert "is not UTF-8 text" in of(path, caught.value)
    assert f"row {1 if encoding == 'utf-16' else 3}:" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "must begin with a header row"),
        (HEADER.encode(), "has no rows after its header"),
        (HEADER.encode() + b"\n\n\n", "has no rows after its header"),
        (gzip.compress(f"{HEADER}\n{ROW}\n".encode(), mtime=0)[:-12], "damaged or cut off"),
        (gzip.compress(b"", mtime=0)[:4], "damaged or cut off"),
        (gzip.compress(f"{HEADER}\n{ROW}\n".encode(), mtime=0) + b"more", "damaged or cut off"),
    ],
)
def test_a_file_with_nothing_to_read_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_log(path)
    assert why in of(path, caught.value)


@pytest.mark.parametrize("path", [Path("missing.csv"), Path("/"), Path("a\0b")])
def test_a_file_that_cant_be_read_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^[^:]+: can't be read: ."):
        read_log(path)


def test_a_column_of_phones_is_no_profile(tmp_path: Path) -> None:
    rows = [f"{SENT},{SENT},ok,{2025550000 + number}" for number in range(MAX_PROFILES + 1)]
    line = refusal(tmp_path, *rows)
    assert line.startswith(f"row {MAX_PROFILES + 2}: column 'carrier' has more than 100 values")


@pytest.mark.parametrize(
    "row", [f"2025550123,{SENT},ok,a", f"{SENT},2025550123,ok,a", f"{SENT},{SENT},2025550123,a"]
)
def test_a_phone_number_in_the_wrong_column_is_not_repeated(tmp_path: Path, row: str) -> None:
    assert "2025550123" not in refusal(tmp_path, row, f"202-555-0123,{SENT},ok,a")
    assert "0123" not in refusal(tmp_path, f"202-555-0123,{SENT},ok,a")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=20), st.integers(0, 200), st.integers(0, 30), st.booleans())
def test_whatever_is_in_a_file_it_is_read_or_refused_in_one_line(
    tmp_path: Path, put: bytes, at: int, instead_of: int, packed: bool
) -> None:
    whole = f"{HEADER}\n{ROW}\n{ROW}\n".encode()
    whole = gzip.compress(whole, mtime=0) if packed else whole
    path = tmp_path / "log.csv"
    path.write_bytes(whole[:at] + put + whole[at + instead_of :])
    try:
        read_log(path)
    except ConfigError as error:
        assert of(path, error)
