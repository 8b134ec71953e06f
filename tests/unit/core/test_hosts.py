"""Which hosts workers are on."""

from __future__ import annotations

import pytest

from sms_pipeline.core.hosts import MAX_WORKER_ID, HostPart, by_host, host_of, worker_id
from tests.unit import make


@pytest.mark.parametrize("host", ["box", "box-1", "web-7-abcdef", "a.b-c"])
@pytest.mark.parametrize("name", ["fast", "fast-1-ab", "run"])
def test_host_is_in_the_id(host: str, name: str) -> None:
    assert host_of(worker_id(name, host, 123, "0a1b2c")) == host


def test_an_id_is_never_too_long_for_the_ledger() -> None:
    made = worker_id("n" * 200, "h" * 64, 4_194_304, "0a1b2c")
    assert len(made) == MAX_WORKER_ID
    assert host_of(made) == "h" * 64


def test_host_is_in_the_ids_of_earlier_ledgers() -> None:
    assert host_of("box-1-123-0a1b2c") == "box-1"


@pytest.mark.parametrize("worker", ["w1", "", "-1-abc", "box-1-xyz", "box-abc", "fast-1@box"])
def test_other_ids_have_none(worker: str) -> None:
    assert host_of(worker) is None


def test_senders_are_summed_by_host() -> None:
    workers = [
        make.worker(worker_id("fast", "b", 1, "0"), senders=5, mean_time=0.1),
        make.worker(worker_id("fast", "a", 1, "1"), senders=1, mean_time=0.5),
        make.worker(worker_id("fast", "b", 1, "2"), senders=10, mean_time=0.1),
        make.worker("w1", senders=3, mean_time=1.0),
    ]
    assert by_host(workers) == (
        HostPart(None, 1, 3, pytest.approx(3.0)),
        HostPart("a", 1, 1, pytest.approx(2.0)),
        HostPart("b", 2, 15, pytest.approx(150.0)),
    )
    assert by_host([]) == ()
