"""Draws docs/images from the results files; measures nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import population, scaling
from benchmarks.harness import RESULTS
from benchmarks.rehearsal import MILLION

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE_INCHES = (7.0, 4.2)
CURVES = {
    scaling.REFERENCE: "asyncio reference",
    scaling.BANK: "sender bank alone",
    scaling.PIPELINE: "whole pipeline through RabbitMQ",
}
_MARKERS = dict(zip(CURVES, "os^", strict=True))
_MINUTE = 60

Content = dict[str, Any]
Draw = Callable[[Axes, Content], None]


def rate(axes: Axes, results: Content) -> None:
    """Throughput over the number of senders."""
    draw_curves(axes, results, "rate")
    axes.set_yscale("log")
    axes.set_ylabel("messages a second")
    axes.set_title("Throughput at a mean of one second a message")


def rate_per_sender(axes: Axes, results: Content) -> None:
    """Throughput per sender over the number of senders."""
    draw_curves(axes, results, "rate_per_sender")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("messages a second and sender")
    axes.set_title("Throughput per sender (1 = no sender ever waits)")


def population_time(axes: Axes, results: Content) -> None:
    """Time to message the United States over the number of senders."""
    draw_curves(axes, results, "population_seconds")
    axes.set_yscale("log")
    axes.set_ylabel("seconds")
    for seconds, name in ((_MINUTE, "a minute"), (3_600, "an hour"), (86_400, "a day")):
        axes.axhline(seconds, color="grey", linewidth=0.5)
        axes.annotate(name, (1, seconds), color="grey", fontsize="small", va="bottom")
    axes.set_title(
        f"Time to message the United States ({scaling.POPULATION / MILLION:.0f} million)"
    )


def draw_curves(axes: Axes, results: Content, value: str) -> None:
    """One line for each way of sending, over the number of senders."""
    for curve, label in CURVES.items():
        points = sorted((int(senders), row[value]) for senders, row in results[curve].items())
        axes.plot(*zip(*points, strict=True), marker=_MARKERS[curve], label=label)
    axes.set_xscale("log")
    axes.set_xlabel("senders")
    axes.legend()


def cost(axes: Axes, results: Content) -> None:
    """What a million messages cost, over the number of messages."""
    rows = sorted((int(count), row) for count, row in results[scaling.MESSAGES].items())
    counts = [count for count, _ in rows]
    for value, label in (
        ("cpu_seconds_per_million_in_all", "CPU seconds, all processes"),
        ("wall_seconds_per_million", "seconds by the clock"),
    ):
        axes.plot(counts, [row[value] for _, row in rows], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("messages in the run")
    axes.set_ylabel("for a million messages")
    axes.set_title("Cost per message over the size of the run")
    axes.legend()


def population_rate(axes: Axes, results: Content) -> None:
    """The rate over the time of the great run."""
    times, marks = [], []
    for call_start, call in started(results):
        samples = call["samples"]
        for before, after in pairwise(samples):
            seconds = after["seconds"] - before["seconds"]
            times.append((call_start + after["seconds"]) / _MINUTE)
            marks.append((after["finished"] - before["finished"]) / seconds if seconds else 0)
    axes.plot(times, marks)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("messages a second")
    axes.set_title(f"{results['setting']['messages']:,} messages on one machine: rate")


def population_memory(axes: Axes, results: Content) -> None:
    """Memory by role over the time of the great run."""
    for role in results["calls"][0]["samples"][0]["resident_mb"]:
        points = [
            ((call_start + sample["seconds"]) / _MINUTE, sample["resident_mb"][role])
            for call_start, call in started(results)
            for sample in call["samples"]
        ]
        axes.plot(*zip(*points, strict=True), label=role)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MB")
    axes.set_title(f"{results['setting']['messages']:,} messages on one machine: memory")
    axes.legend()


def started(results: Content) -> Iterator[tuple[float, Content]]:
    """Each call with the seconds that the calls before it took."""
    seconds = 0.0
    for call in results["calls"]:
        if call["samples"]:
            yield seconds, call
            seconds += call["samples"][-1]["seconds"]


FIGURES: dict[str, tuple[str, Draw]] = {
    "rate": (scaling.NAME, rate),
    "rate-per-sender": (scaling.NAME, rate_per_sender),
    "population-time": (scaling.NAME, population_time),
    "cost": (scaling.NAME, cost),
    "population-rate": (population.NAME, population_rate),
    "population-memory": (population.NAME, population_memory),
}


def draw(results: Path, images: Path) -> list[Path]:
    """Draw what there are results for; return the files."""
    # Drawn twice from the same results, a figure is the same file.
    mpl.rcParams["svg.hashsalt"] = "sms_pipeline"
    images.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (benchmark, figure) in FIGURES.items():
        path = results / f"{benchmark}.json"
        if path.exists():
            drawn.append(images / f"{name}.svg")
            save(figure, json.loads(path.read_text()), drawn[-1])
    return drawn


def save(figure: Draw, results: Content, path: Path) -> None:
    """One figure as one SVG file."""
    sheet = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = sheet.add_subplot()
    axes.grid(alpha=0.3)
    figure(axes, results)
    sheet.savefig(path, metadata={"Date": None})


def main() -> None:
    """Draw all."""
    for path in draw(RESULTS, IMAGES):
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
