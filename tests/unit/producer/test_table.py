"""Tables in files, read in pieces."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sms_pipeline.core.errors import ConfigError, MissingPackagesError
from sms_pipeline.producer import table
from sms_pipeline.producer.table import masked, open_table
from tests.unit.producer import people

SUFFIXES = ("csv", "csv.gz", "parquet")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 7)
    monkeypatch.setattr(table, "BLOCK", 140)


def read(path: Path, *columns: str) -> list[tuple[str, ...]]:
    found = list[tuple[str, ...]]()
    for chunk in open_table(path).chunks(columns or ("to", "zone")):
        assert len(chunk[0]) <= 40
        found += zip(*chunk, strict=True)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def refusal(path: Path, *columns: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(path, *columns)
    message = str(refused.value)
    assert "\n" not in message
    return message.replace(str(path), path.name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_row_of_the_columns_in_their_order(tmp_path: Path, suffix: str) -> None:
    path = people.write(tmp_path / f"people.{suffix}", 100)
    assert list(open_table(path).names) == ["to", "zone"]
    assert read(path) == people.rows(100)
    assert read(path, "zone") == [(zone,) for _, zone in people.rows(100)]


def test_csv_as_it_comes(file: Path) -> None:
    file.write_bytes(
        b'\xef\xbb\xbfto;zone\r\n1;"a;b"\r\n\r\n2;"two\nlines"\r\n3;"say ""go"""\r\n\r\n'
    )
    assert read(file) == [("1", "a;b"), ("2", "two\nlines"), ("3", 'say "go"')]
    assert [open_table(file).place(row) for row in range(3)] == [
        f"{file}: line {line}" for line in (2, 5, 6)
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("odd", ['3,"c"', "", '3,"c\nd"', "\n3,c"])
@pytest.mark.parametrize("place", [0, 1, 20, 99])
def test_rows_that_take_a_closer_look_may_come_at_any_time(
    file: Path, line_end: str, odd: str, place: int
) -> None:
    lines = [f"{row},{row}" for row in range(100)]
    lines.insert(place, odd)
    file.write_text("to,zone\n" + line_end.join(lines), newline="")
    with file.open(newline="") as text:
        expected = [tuple(row) for row in csv.reader(text) if row][1:]
    assert read(file) == expected


def test_a_table_of_one_column(file: Path) -> None:
    file.write_text("to\n1\n\n2\n")
    assert read(file, "to") == [("1",), ("2",)]
    file.write_text("to\n1\n2")
    assert read(file, "to") == [("1",), ("2",)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "people.csv: is empty; it must begin with a header row"),
        (b"\n\n", "people.csv: is empty"),
        (b"to,zone\n1,a\n2\n3,c\n", "people.csv: line 3: has 1 field, but the header has 2"),
        (b"to,zone\n" + b"1,a\n" * 9 + b"2,b,c\n", "people.csv: line 11: has 3 fields"),
        (b"to,zone\n" + b"1,a\n" * 9_999 + b"2,\xe4\n", "people.csv: line 10001: is not UTF-8"),
        (b"t\xe4,zone\n1,a\n", "people.csv: line 1: is not UTF-8 text; save the file as UTF-8"),
        (b'to,zone\n1,"a\n2,b\n', "people.csv: line 3: is not CSV: a quote is not closed"),
        (b'to,zone\n1,"a"b\n', "people.csv: line 2: is not CSV: something follows a closing"),
        (b"to,zone,to\n1,a,2\n", "people.csv: has two columns 'to'; rename one"),
        (
            b"phone,zone\n1,a\n",
            "people.csv: has no column 'to'; its header has 'phone', 'zone'",
        ),
        # Without a header, what stands there is a number.
        (b"+12025550100,north\n", "people.csv: has no column 'to'; its header has '+####"),
        (
            gzip.compress(b"to,zone\n1,a\n" * 99, mtime=0)[:-9],
            "people.csv: the packed file is damaged",
        ),
        (
            gzip.compress(b"to,zone\n1,a\n", mtime=0)[:20] + b"x" * 30,
            "people.csv: the packed file is",
        ),
        (b"PAR1 and so on", "people.csv: is not Parquet that can be read"),
        (b"to,zone\n" + b"1" * 3_000_000, "people.csv: line 2: is not CSV: a quote is not closed"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    file: Path, content: bytes, says: str
) -> None:
    file.write_bytes(content)
    assert refusal(file).startswith(says)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nobody.csv") == ("nobody.csv: can't be read: there is no such file")
    assert "it is no file" in refusal(tmp_path)


def test_numbers_in_parquet_are_written_out_and_empty_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"to": [12025550100, 12025550101], "zone": ["a", "b"]}), path)
    assert read(path) == [("12025550100", "a"), ("12025550101", "b")]
    pq.write_table(pa.table({"to": ["1"] * 9 + [None], "zone": ["a"] * 10}), path)
    assert refusal(path) == "people.parquet: row 10: column 'to' has no value"


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = people.write(tmp_path / "people.parquet", 1)
    monkeypatch.setattr(table, "find_spec", lambda _: None)
    with pytest.raises(MissingPackagesError, match=r"install it with: .* -m pip install pyarrow"):
        open_table(path)


def test_no_number_is_shown() -> None:
    assert masked("+1 202 555") == "'+# ### ###'"
    assert len(masked("x" * 1_000)) < 50
