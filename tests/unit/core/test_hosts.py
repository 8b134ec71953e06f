"""Which hosts workers are on."""

from __future__ import annotations

import pytest

from sms_pipeline.core.hosts import HostPart, by_host, host_of, process_of, worker_id
from tests.unit import make


@pytest.mark.parametrize("host", ["box", "box-1", "web-7-abcdef", "a.b-c"])
def test_host_is_in_the_id(host: str) -> None:
    made = worker_id(host, 123, "0a1b2c")
    assert (host_of(made), process_of(made)) == (host, "123-0a1b2c")


@pytest.mark.parametrize("worker", ["w1", "", "-1-abc", "box-1-xyz", "box-abc"])
def test_other_ids_have_none(worker: str) -> None:
    assert (host_of(worker), process_of(worker)) == (None, worker)


def test_senders_are_summed_by_host() -> None:
    workers = [
        make.worker(worker_id("b", 1, "0"), senders=5, mean_time=0.1),
        make.worker(worker_id("a", 1, "1"), senders=1, mean_time=0.5),
        make.worker(worker_id("b", 1, "2"), senders=10, mean_time=0.1),
        make.worker("w1", senders=3, mean_time=1.0),
    ]
    assert by_host(workers) == (
        HostPart(None, 1, 3, pytest.approx(3.0)),
        HostPart("a", 1, 1, pytest.approx(2.0)),
        HostPart("b", 2, 15, pytest.approx(150.0)),
    )
    assert by_host([]) == ()
