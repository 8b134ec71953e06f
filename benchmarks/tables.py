"""Renders the benchmarks' tables and the front page's figures from the results files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    footprint,
    forecast,
    forecast_cost,
    peers,
    population,
    scaling,
    stability,
    thinning,
    throughput,
    watching,
)
from benchmarks.harness import RESULTS

README = Path(__file__).parent / "README.md"
#: The project's own page shows the three figures that matter most.
FRONT_PAGE = README.parent.parent / "README.md"
SECONDS_A_MINUTE = 60
NOT_MEASURED = "Not measured yet."

Content = dict[str, Any]
Render = Callable[[Content], Iterable[str]]


def throughput_table(results: Content) -> Iterable[str]:
    """A line for each rehearsal."""
    best = max(found["rate"] for found in results["reference"])
    yield f"Best rate of the asyncio reference: {best:,.0f} messages/s."
    yield ""
    headings = ("row", "messages", "messages/s", "reference", "ratio", "efficiency", "worker MB")
    rows = [
        (
            title,
            _whole(row["setting"]["messages"]),
            _whole(row["rate"]),
            _whole(row["reference_nearby"]),
            f"{row['ratio']:.2g}" if row["ratio"] < 1 else f"{row['ratio']:.1f}",
            f"{row['efficiency']:.1%}",
            _whole(row["usage"]["worker"]["peak_mb"]),
            *_cpu(row, ("producer", "worker", "broker", "database")),
        )
        for title, row in results["rows"].items()
    ]
    yield from _table(
        (*headings, "CPU seconds per million: producer, worker, broker, database"), rows
    )


def peers_table(results: Content) -> Iterable[str]:
    """A line for each way to send one SMS after the other."""
    headings = (
        "",
        "messages/s",
        "publishing alone",
        "consuming alone",
        "sms_pipeline is",
        "",
    )
    rows = []
    for title, row in results["rows"].items():
        ratio = row.get("ratios", {}).get("sms_pipeline")
        rows.append(
            (
                title,
                _whole(row["rate"]),
                _whole(row.get("publish_rate")),
                _whole(row.get("consume_rate")),
                f"{ratio:,.0f} times as fast" if ratio else "-",
                row.get("chosen", ""),
            )
        )
    yield from _table(headings, rows)


def scaling_table(results: Content) -> Iterable[str]:
    """Rates over senders, and costs over messages."""
    curves = (scaling.REFERENCE, scaling.BANK, scaling.PIPELINE)
    senders = sorted({int(count) for curve in curves for count in results.get(curve, {})})
    rows = [
        (_whole(count), *(_whole(_at(results, curve, count, "rate")) for curve in curves))
        for count in senders
    ]
    yield from _table(("senders", "asyncio reference", "bank alone", "whole pipeline"), rows)
    yield ""
    costs = [
        (
            _whole(int(count)),
            f"{row['cpu_seconds_per_million_in_all']:.2f}",
            f"{row['wall_seconds_per_million']:.2f}",
            _whole(row["ledger_bytes_per_million"]),
        )
        for count, row in results.get(scaling.MESSAGES, {}).items()
    ]
    headings = (
        "messages",
        "CPU seconds per million",
        "seconds per million",
        "ledger bytes per million",
    )
    yield from _table(headings, costs)


def population_table(results: Content) -> Iterable[str]:
    """The great run in a few figures."""
    if "summary" not in results:
        yield "Not finished yet."
        return
    summary, audit = results["summary"], results["audit"]
    setting = results["setting"]
    rows = [
        ("messages", _whole(setting["messages"])),
        ("failure rate of an attempt", f"{setting['failure_rate']:.0%}"),
        ("delivered", _whole(audit["delivered"])),
        ("failed, out of attempts", _whole(audit["failed"])),
        ("audit", f"{audit['verdict']}, in {audit['seconds']:.0f} s"),
        ("calls of the benchmark", _whole(summary["calls"])),
        ("seconds", _whole(summary["seconds"])),
        ("messages/s", _whole(summary["rate"])),
        ("ledger bytes per million", _whole(summary["ledger_bytes_per_million"])),
    ]
    for role, seconds in summary["cpu_seconds_per_million"].items():
        peak = summary["peak_mb"][role]
        rows.append((role, f"{seconds:.2f} CPU seconds per million, at most {peak:,.0f} MB"))
    yield from _table(("", ""), rows)


def stability_table(results: Content) -> Iterable[str]:
    """Runs in sequence, and the efficiency of senders."""
    rows = [
        (f"run {number}", _whole(row["rate"]), f"{row['usage']['worker']['peak_mb']:,.0f}")
        for number, row in results.get("runs", {}).items()
    ]
    yield from _table(("in sequence", "messages/s", "worker MB"), rows)
    yield ""
    if "decay" in results:
        decay = results["decay"]
        yield (
            f"The later half of the runs is {decay['loss']:.1%} slower than the earlier half; the "
            f"fastest run is {decay['spread']:.1%} faster than the slowest."
        )
        yield ""
    busy = [
        (title, _whole(_senders(row)), f"{row['efficiency']:.2%}")
        for title, row in results.get("efficiency", {}).items()
    ]
    yield from _table(("measured", "senders", "efficiency"), busy)


def footprint_table(results: Content) -> Iterable[str]:
    """Start-up, idleness, memory."""
    describe: dict[str, Callable[[Content], str]] = {
        footprint.HELP: _start_up,
        footprint.FIRST_BATCH: _start_up,
        footprint.IDLE: lambda row: f"{row['cores']:.2%} of a core, {row['resident_mb']:.0f} MB",
        footprint.IN_FLIGHT: lambda row: (
            f"worker {row['worker_bytes_per_message']:,.0f} bytes each; "
            f"producer at most {row['producer_peak_mb']:,.0f} MB"
        ),
        footprint.BANK: lambda row: (
            f"{row['peak_mb']:,.0f} MB, of which the bank and its work are {row['bank_mb']:,.0f} MB"
        ),
    }
    rows = [(title, describe[title](row)) for title, row in results["rows"].items()]
    yield from _table(("", ""), rows)


def watching_table(results: Content) -> Iterable[str]:
    """What being watched costs."""
    rows = []
    for title, row in results["rows"].items():
        pairs = row["pairs"]
        cores = sum(pair["watched"]["watchers_cores"] for pair in pairs) / len(pairs)
        rows.append((title, f"{row['cost']:.1%}", str(len(pairs)), f"{cores:.2f}"))
    yield from _table(("run", "slower by", "pairs", "cores used for watching"), rows)


def forecast_table(results: Content) -> Iterable[str]:
    """Forecasts beside what came of them."""
    rows = []
    for title, row in results["rows"].items():
        told, runs = row["forecast"], row["runs"]
        off = [f"{row['off'][share]:+.1%}" if share in row["off"] else "-" for share in _SHARES]
        reached = [f"{told[share][1]:.1f}" if told[share] else "-" for share in _SHARES]
        low, _, high = told["end"]
        ends = f"{row['ends_inside']} of {len(runs)} in {low:.1f} to {high:.1f} s"
        eta = row.get("eta_off")
        left = "-" if eta is None else f"{eta:.0%}"
        rows.append((title, ", ".join(reached), *off, ends, left, f"{row['cpu_seconds']:.1f}"))
    headings = ("run", "50, 90, 99 % reached, s", *(f"{share} off" for share in _SHARES))
    yield from _table((*headings, "real ends", "time left off", "CPU seconds"), rows)


_SHARES = ("50%", "90%", "99%")


def forecast_cost_table(results: Content) -> Iterable[str]:
    """What a forecast takes."""
    rows = [
        (
            title,
            _whole(row["messages"]),
            f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}",
            _whole(row["peak_mb"]),
        )
        for title, row in results["rows"].items()
    ]
    yield from _table(("forecast", "messages", "seconds", "CPU seconds", "MB"), rows)


def thinning_table(results: Content) -> Iterable[str]:
    """Thinned forecasts beside whole ones."""
    rows = [
        (
            title,
            *(f"{found['off']:+.1%}" for found in row["reached"].values()),
            f"{row['may_be_off']:.1%}",
            _minutes(row["end"]),
            " to ".join(map(_minutes, row["range"])),
        )
        for title, row in results["rows"].items()
    ]
    shares = next(iter(results["rows"].values()))["reached"]
    yield from _table(("forecast", *shares, "told", "end, min", "told, min"), rows)


def _minutes(seconds: float) -> str:
    return f"{seconds / SECONDS_A_MINUTE:,.1f}"


TABLES: dict[str, Render] = {
    throughput.NAME: throughput_table,
    peers.NAME: peers_table,
    scaling.NAME: scaling_table,
    stability.NAME: stability_table,
    footprint.NAME: footprint_table,
    watching.NAME: watching_table,
    forecast.NAME: forecast_table,
    forecast_cost.NAME: forecast_cost_table,
    thinning.NAME: thinning_table,
    population.NAME: population_table,
}


def throughput_line(results: Content) -> Iterable[str]:
    """The whole pipeline beside the reference."""
    plain, failing = (
        results["rows"][name] for name in (throughput.NO_FAILURES, throughput.FAILURES)
    )
    yield (
        f"- **{plain['rate']:,.0f} messages/s** through RabbitMQ over a whole run of "
        f"{plain['setting']['messages']:,}: {plain['ratio']:.1f} times the rate of an in-process "
        f"asyncio version, measured in the same minutes. **{failing['rate']:,.0f}/s** "
        f"({failing['ratio']:.1f} times) over a run of the same size in which 10 % of the attempts "
        "fail and are retried."
    )


def peers_line(results: Content) -> Iterable[str]:
    """The whole pipeline beside plain Celery, with batches and without."""
    ratios = {
        title: row["ratios"]["sms_pipeline"]
        for title, row in results["rows"].items()
        if row.get("ratios", {}).get("sms_pipeline")
    }
    best = min(ratios, key=lambda title: ratios[title])
    single = results["rows"]["sms_pipeline, batch 1"]["rate"]
    safe = max(row["rate"] for row in results["rows"].values() if row.get("is_safe"))
    yield (
        f"- **{ratios[best]:,.0f} times** the rate of plain Celery with one task per SMS, in its "
        f"fastest variant ({best}). That is what batches do. With one SMS per task "
        f"(`batch_size: 1`) this project is slower than plain Celery: {single:,.0f}/s against "
        f"{safe:,.0f}/s, because each task is also recorded, compared with the ledger and settled."
    )
    yield (
        "- What batches cost in return: Flower shows batches, not single messages; a batch is "
        "settled when its last message ends, so the counts move in steps; and when a worker dies, "
        "all of its unsettled batches are sent again."
    )


def population_line(results: Content) -> Iterable[str]:
    """The great run."""
    if "summary" not in results:
        yield NOT_MEASURED
        return
    summary, audit = results["summary"], results["audit"]
    yield (
        f"- **{results['setting']['messages']:,} messages**, the population of the United States, "
        f"in {summary['seconds'] / SECONDS_A_MINUTE:.1f} minutes "
        f"({summary['rate']:,.0f}/s), with the verdict *{audit['verdict']}*."
    )


FRONT_LINES: dict[str, Render] = {
    throughput.NAME: throughput_line,
    peers.NAME: peers_line,
    population.NAME: population_line,
}


def rendered(text: str, results: Path, renders: dict[str, Render] = TABLES) -> str:
    """`text` with what is between its markers made again."""
    for name, render in renders.items():
        path = results / f"{name}.json"
        lines = render(json.loads(path.read_text())) if path.exists() else [NOT_MEASURED]
        text = _fill(text, name, lines)
    return text


def _fill(text: str, name: str, lines: Iterable[str]) -> str:
    begin, end = f"<!-- results: {name} -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    assert found, f"there is no place for the table of {name}"
    after = rest.partition(end)[2]
    return "".join((before, begin, *(f"{line}\n" for line in lines), end, after))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield _row(headings)
    yield _row(["---", *["---:"] * (len(headings) - 1)])
    for row in rows:
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cpu(row: Content, roles: Sequence[str]) -> tuple[str]:
    used = row["cpu_seconds_per_million"]
    return (", ".join(f"{used[role]:.2f}" for role in roles if role in used),)


def _senders(row: Content) -> int:
    """Of a rehearsal, or of a bank alone."""
    return int(row.get("setting", row)["senders"])


def _start_up(row: Content) -> str:
    return f"{row['median_seconds']:.2f} s (best {row['best_seconds']:.2f} s)"


def _at(results: Content, curve: str, senders: int, value: str) -> float | None:
    found: float | None = results.get(curve, {}).get(str(senders), {}).get(value)
    return found


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def main() -> None:
    """Renew the README's tables, and the lines of the front page."""
    README.write_text(rendered(README.read_text(), RESULTS))
    FRONT_PAGE.write_text(rendered(FRONT_PAGE.read_text(), RESULTS, FRONT_LINES))


if __name__ == "__main__":
    main()
