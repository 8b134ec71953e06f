"""How figures are written, and that nothing else writes them."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sms_pipeline.views import format
from tests.unit.make import NOON

PACKAGE = Path(format.__file__).parents[1]
ROOMS = [PACKAGE / "views", PACKAGE / "cli"]


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The reader's time zone is five and a half hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-5:30")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("show", "texts"),
    [
        (format.small_time, {0: "0 us", 1.432e-6: "1.43 us", 0.00573: "5.73 ms", 1.2: "1.2 s"}),
        (format.money, {None: "-", 0: "0.00", 1_234.5: "1,234.50", 0.01: "0.01", 0.0075: "0.0075"}),
        (format.count, {None: "-", 0: "0", 7: "7", 1234: "1,234", 340_000_000: "340,000,000"}),
        (
            format.rate,
            {
                None: "-", 0: "0/s", 0.001: "0.1/s", 2.5: "2.5/s", 9.94: "9.9/s", 9.96: "10/s",
                950: "950/s", 1_234.4: "1,234/s",
            },
        ),
        (
            format.percent,
            {
                None: "-", 0: "0.0%", 1e-9: "0.1%", 0.0004: "0.1%", 0.123: "12.3%",
                0.9994: "99.9%", 0.9996: "99.9%", 0.999999: "99.9%", 1: "100.0%", 1.5: "150.0%",
            },
        ),
        (
            format.exact_percent,
            {None: "-", 0: "0%", 0.07: "7%", 0.5: "50%", 0.0005: "0.05%", 1: "100%"},
        ),
        (format.points, {None: "-", 0: "0.0 points", 1e-6: "0.1 points", 0.101: "10.1 points"}),
        (
            format.message_time,
            {
                None: "-", 0: "0.000 s", 1e-5: "0.001 s", 0.02: "0.020 s", 3.5331: "3.533 s",
                59.9994: "59.999 s", 59.9996: "1 min 00 s", 197.4: "3 min 17 s",
                7_500: "2 h 05 min",
            },
        ),
        (
            format.duration,
            {
                None: "-", 0: "0.0 s", 0.001: "0.1 s", 9.04: "9.0 s", 59.94: "59.9 s",
                59.96: "1 min 00 s", 125: "2 min 05 s", 197.4: "3 min 17 s",
                3_599.6: "1 h 00 min", 7_500: "2 h 05 min", 360_000: "100 h 00 min",
            },
        ),
        (format.exact_seconds, {None: "-", 0: "0 s", 0.05: "0.05 s", 60: "60 s", 1.0: "1 s"}),
        (format.estimated_time, {0: "0 s", 3e-5: "3e-05 s", 0.95123: "0.9512 s", 61.0: "61 s"}),
        (
            format.parameter,
            {0: "0", 0.30123: "0.301", 16.0: "16", 99.96: "100", 999.9: "1,000", 12_345: "12,345"},
        ),
        (
            format.round_time,
            {
                0: "0", 0.001: "1 ms", 0.02: "20 ms", 1: "1 s", 1.5: "1.5 s", 30: "30 s",
                60: "1 min", 90: "1:30 min", 3_600: "1 h", 5_400: "1:30 h", 86_400: "24 h",
            },
        ),
        (format.round_count, {0: "0", 0.5: "0.5", 950: "950", 1_500: "1.5k", 2e6: "2M", 3e9: "3G"}),
        (format.number, {0: "0", 12.5: "12.5", 1_000.0: "1000", 1 / 3: "0.333333333"}),
        (format.iso, {None: None, NOON + 0.25: "2023-11-14T22:13:20.250+00:00"}),
    ],
)  # fmt: skip
def test_figures(show: Callable[[object], str], texts: dict[object, str]) -> None:
    assert {value: show(value) for value in texts} == texts


def test_differences_have_a_sign() -> None:
    assert format.signed(None, format.count) == "-"
    assert format.signed(0, format.count) == "0"
    assert format.signed(1_500, format.count) == "+1,500"
    assert format.signed(-125, format.duration) == "-2 min 05 s"
    assert format.signed(-0.9999, format.percent) == "-99.9%"


def test_settings() -> None:
    values = [None, [], ["a", 2], 120_000, 0.5, 300.0, True, "auto"]
    texts = ["-", "-", "a, 2", "120,000", "0.5", "300", "True", "auto"]
    values += [[0.5, 1.0, 2.0], [0.25] * 199 + [8.5], ["lost == 0"] * 6]
    texts += ["0.5, 1, 2", "200 values from 0.25 to 8.5", ", ".join(["lost == 0"] * 6)]
    assert [format.setting(value) for value in values] == texts


@pytest.mark.usefixtures("far_from_utc")
def test_moments_are_in_the_time_zone_of_the_reader() -> None:
    assert format.moment(NOON) == "2023-11-15 03:43:20 +0530"
    assert format.moment(None) == "not yet"
    assert format.clock(NOON + 0.2504) == "03:43:20.250"
    assert format.iso(NOON) == "2023-11-14T22:13:20.000+00:00"


# Nothing else formats

#: What may stand after the colon in an f-string elsewhere: how wide, and on which side.
ALIGNMENT = re.compile(r"[<>^]\d+")
#: Calls that make text of a moment or of a number.
FORMATTING_CALLS = {"strftime", "isoformat"}
#: The same in templates and scripts; scripts show only moments by themselves, in `page.js`.
IN_PAGES = re.compile(
    r"\.toFixed|\.toPrecision|toLocale|NumberFormat|strftime|isoformat|\{[^{}'\"]*:[^{}'\"]*[.,%][^{}'\"]*\}\""
)


def strays(source: str) -> list[str]:
    """Formats in Python code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            spec = ast.unparse(node.format_spec)[2:-1]
            if not ALIGNMENT.fullmatch(spec):
                found.append(f"{node.lineno}: {spec}")
        if isinstance(node, ast.Attribute) and node.attr in FORMATTING_CALLS:
            found.append(f"{node.lineno}: {node.attr}")
    return found


def test_strays_are_found() -> None:
    assert len(strays('f"{a:.1%} {b:,} {c:>9} {d!r}" + at.strftime("%H")')) == 3
    assert IN_PAGES.search('{{ f"{wanted:.0%}" }}')
    assert IN_PAGES.search("value.toFixed(1)")


@pytest.mark.parametrize(
    "path",
    [
        path
        for room in ROOMS
        for path in sorted(room.rglob("*.py"))
        # What the doctor tells is of machines, not of runs.
        if path.parent.name != "doctor"
    ],
    ids=str,
)
def test_no_module_formats_figures_by_itself(path: Path) -> None:
    if path.name != "format.py":
        assert strays(path.read_text()) == []


@pytest.mark.parametrize(
    "path",
    [path for kind in ("html", "js") for path in sorted(ROOMS[0].rglob(f"*.{kind}"))],
    ids=str,
)
def test_no_page_formats_figures_by_itself(path: Path) -> None:
    assert IN_PAGES.findall(path.read_text()) == []


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+15551234567", "'+15551234567"),
        ("-a", "'-a"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("a=b", "a=b"),
        ("'=1", "'=1"),
        ("\t=1", r"\u0009=1"),
        ("a\x1b[2J", r"a\u001b[2J"),
        ('a,"b"', '"a,""b"""'),
        (-1, "-1"),
        (None, ""),
    ],
)
def test_no_cell_of_a_spreadsheet_is_a_formula(cell: object, written: str) -> None:
    assert format.csv_line(("x", cell)).decode() == f"x,{written}\r\n"
