"""What was measured of a machine, as a table, as a line and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sms_pipeline.forecast.measuring import Ceiling, Measurement
from sms_pipeline.views.format import count, iso, moment, small_time
from sms_pipeline.views.objects import rounded
from sms_pipeline.views.output import new_table, write_all


def show_measurement(found: Measurement, ceiling: Ceiling) -> None:
    """Print it.

    Raises:
        OutputError: it can't be written.
    """
    table = new_table("", "", "takes", numbers_from=2)
    for what, seconds, of in _rows(found):
        table.add_row(what, of, small_time(seconds))
    write_all(f"{_where(found)}:", table, *ceiling_lines(ceiling))


def measurement_line(found: Measurement) -> str:
    """What a forecast goes by."""
    costs = found.costs
    message = costs.make_message + costs.play_message
    batch = costs.publish_batch + costs.play_batch
    return (
        f"{_where(found)} ({moment(found.at)}): {small_time(message)} a message and "
        f"{small_time(batch)} a batch in one process."
    )


def measured_json(found: Measurement) -> dict[str, Any]:
    """The fields of a measurement."""
    return {
        "machine": found.machine,
        "at": iso(found.at),
        "embedded": found.embedded,
        "seconds": {name: getattr(found.costs, name) for name in type(found.costs).__slots__},
    }


def measurement_json(found: Measurement, ceiling: Ceiling) -> dict[str, Any]:
    """The fields of `measure --json`."""
    rates = {name: rounded(getattr(ceiling, name)) for name in type(ceiling).__slots__}
    return {**measured_json(found), "messages_per_second": rates}


def ceiling_lines(ceiling: Ceiling) -> Iterator[str]:
    """The most that it can do."""
    yield f"At most {count(ceiling.one_process)} messages/s in one process ('run')."
    yield (
        f"With processes of their own: a producer {count(ceiling.producer)}/s, each worker "
        f"{count(ceiling.worker)}/s, as long as there are cores for them."
    )


def _where(found: Measurement) -> str:
    return f"Measured on {found.machine} with {'no broker' if found.embedded else 'RabbitMQ'}"


def _rows(found: Measurement) -> Iterator[tuple[str, float, str]]:
    costs = found.costs
    yield "producer, a message", costs.make_message, "CPU"
    yield "producer, a batch", costs.publish_batch, "CPU"
    yield "producer, a group of batches", costs.turn, "CPU of recording them"
    yield "publish", costs.publish, "until the broker confirms"
    yield "deliver", costs.deliver, "from the broker to a worker"
    yield "worker, a message", costs.play_message, "CPU, each attempt"
    yield "worker, a batch", costs.play_batch, "CPU, each attempt"
    yield "worker, a retry", costs.retry_batch, "CPU of handing a batch on"
    yield "settle", costs.settle, "until it is committed"
    yield "start", costs.start, "until a run is dispatched"
