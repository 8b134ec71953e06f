"""A clean file of recipients."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.producer import table
from sms_pipeline.producer.cleaning import Cleaned, clean
from sms_pipeline.producer.numbers import Reject
from sms_pipeline.producer.table import open_table
from tests.unit.producer import people

RAW = """mobile,zone
(202) 555-0100,a
abc,b
+1 202.555.0101,"c, d"
2025550100,e
,f
2125550111,g
"""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 7)
    monkeypatch.setattr(table, "BLOCK", 140)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw.csv").write_text(RAW)
    (tmp_path / "stop.csv").write_text("anything\n+1 212 555-0111\nnobody\n")
    return tmp_path


def made(folder: Path, output: str = "people.csv", **options: Any) -> Cleaned:
    values = {"column": "mobile", "country": "US", **options}
    return clean(folder / "raw.csv", folder / output, **values)


def rows(path: Path) -> list[tuple[str, ...]]:
    found = open_table(path)
    return [row for chunk in found.chunks(found.names) for row in zip(*chunk, strict=True)]


@pytest.mark.parametrize("output", ["people.csv", "people.csv.gz", "people.parquet"])
def test_each_number_once_and_none_that_is_barred(folder: Path, output: str) -> None:
    cleaned = made(folder, output, suppress=[folder / "stop.csv"], rejects=folder / "bad.csv")
    assert open_table(folder / output).names == ["to", "zone"]
    assert rows(folder / output) == [("+12025550100", "a"), ("+12025550101", "c, d")]
    assert rows(folder / "bad.csv") == [
        ("2", "abc", "not a phone number"),
        ("4", "2025550100", "number of an earlier row"),
        ("5", "", "no number"),
        ("6", "2125550111", "on the suppression list"),
    ]
    assert cleaned == Cleaned(
        rows=6,
        kept=2,
        rejected=Counter(
            {Reject.NO_NUMBER: 1, Reject.DUPLICATE: 1, Reject.EMPTY: 1, Reject.SUPPRESSED: 1}
        ),
        unread={folder / "stop.csv": 1},
    )


def test_what_has_no_value_in_parquet_is_empty(tmp_path: Path) -> None:
    typed, raw = ["+12025550100", None, "+12025550102"], tmp_path / "raw.parquet"
    columns = {"to": typed, "middle": ["a", "b", None], "floor": [1, 2, None], "left": [None] * 3}
    pq.write_table(pa.table(columns), raw)
    pq.write_table(pa.table({"to": [None, "+12025550199"]}), tmp_path / "stop.parquet")
    bad, stop = tmp_path / "bad.csv", tmp_path / "stop.parquet"
    cleaned = clean(raw, tmp_path / "people.csv", suppress=[stop], rejects=bad)
    assert (tmp_path / "people.csv").read_text() == (
        "to,middle,floor,left\n+12025550100,a,1,\n+12025550102,,,\n"
    )
    assert rows(bad) == [("2", "", "no number")]
    assert cleaned == Cleaned(3, 2, Counter({Reject.EMPTY: 1}), {stop: 1})


def test_what_is_clean_stays_as_it_is(tmp_path: Path) -> None:
    file = people.write(tmp_path / "raw.csv", 100)
    cleaned = clean(file, tmp_path / "people.csv")
    assert (cleaned.rows, cleaned.kept, cleaned.rejected) == (100, 100, Counter())
    assert (tmp_path / "people.csv").read_text() == file.read_text()


def test_nobody_else_may_read_it(folder: Path) -> None:
    made(folder)
    made(folder, "people.parquet")
    assert {(folder / f"people.{kind}").stat().st_mode & 0o77 for kind in ("csv", "parquet")} == {0}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"column": "to"}, "raw.csv: has no column 'to'; its header has 'mobile', 'zone'"),
        ({"country": "U"}, "option --country: must be two letters"),
        ({"output": "raw.csv"}, "each file that is read or written must be another one"),
        ({"output": "stop.csv", "suppress": ["stop.csv"]}, "each file that is read or written"),
        ({"rejects": "people.csv"}, "each file that is read or written"),
        ({"suppress": ["nobody.csv"]}, "nobody.csv: can't be read: there is no such file"),
        (
            {"output": "people.xlsx"},
            "people.xlsx: can't be written: its name must end in one of .csv, .csv.gz, .parq",
        ),
        ({"rejects": "bad"}, "bad: can't be written: its name must end in one of .csv"),
        ({"output": "none/people.csv"}, "none/people.csv: can't be written: No such file"),
    ],
)
def test_what_can_not_be_done_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    paths = {"suppress": [Path(path) for path in options.get("suppress", ())]}
    if "rejects" in options:
        paths["rejects"] = Path(options["rejects"])  # type: ignore[assignment]
    values = {"column": "mobile", "output": "people.csv", **options, **paths}
    with pytest.raises(ConfigError) as refused:
        clean(Path("raw.csv"), Path(values.pop("output")), **values)
    assert says in str(refused.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("first", ["+1 212 555-0111", "2125550111", "5550111"])
@pytest.mark.parametrize("country", ["US", None])
def test_a_suppression_list_without_a_header_is_refused(
    folder: Path, first: str, country: str | None
) -> None:
    (folder / "stop.csv").write_text(f"{first}\n+12025550199\n")
    with pytest.raises(ConfigError) as refused:
        made(folder, country=country, suppress=[folder / "stop.csv"])
    assert str(refused.value).endswith("begins with a number; write 'to' on a line above it")


def test_two_columns_of_one_name_are_refused(folder: Path) -> None:
    (folder / "raw.csv").write_text("mobile,to\n2025550100,a\n")
    with pytest.raises(ConfigError, match="two columns would have the same name"):
        made(folder)


@pytest.mark.parametrize("output", ["people.csv", "people.parquet"])
@pytest.mark.parametrize("rows", [6, 7, 8, 20])
@pytest.mark.parametrize("late", [False, True])
def test_a_file_that_is_changed_meanwhile_is_refused_and_nothing_is_lost(
    folder: Path, output: str, rows: int, late: bool
) -> None:
    raw = people.write(folder / "raw.csv", rows)
    for name in (output, "bad.csv"):
        (folder / name).write_text("from yesterday")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def change(*_: object) -> None:
        raw.write_text(people.csv_text(rows + 1))

    def progress(what: str) -> Any:
        if what != "writing":
            return None
        return change if late else change()

    with pytest.raises(ConfigError) as refused:
        made(folder, output, column="to", rejects=folder / "bad.csv", progress=progress)
    assert str(refused.value) == f"{raw}: was changed while it was read; try again"
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after == {**before, "raw.csv": raw.read_bytes()}
