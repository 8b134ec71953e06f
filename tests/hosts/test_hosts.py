"""What a lost host, or a lost cable, does to the others."""

from __future__ import annotations

import os

import pytest

from tests.hosts.conftest import Site
from tests.hosts.network import Host
from tests.hosts.stage import HOST_RATE, PATIENCE_SECONDS, Stage
from tests.services.waiting import wait_until

#: How long cables are pulled.
CUT_SECONDS = 20.0
#: Of the database's: longer than a connection's time-outs, all added up.
DATABASE_CUT_SECONDS = float(os.environ.get("DATABASE_CUT_SECONDS", "60"))
#: After which everything must have come to itself.
RECOVERY_SECONDS = 20.0
#: A run of one host takes so long.
ALONE_SECONDS = 12


def hosts_of(site: Site, *names: str) -> list[Host]:
    return [site.network.host(name) for name in names]


@pytest.mark.ci
@pytest.mark.hosts
def test_three_hosts_are_three_times_as_fast_as_one(site: Site, stage: Stage) -> None:
    one, two, three = hosts_of(site, "rate-one", "rate-two", "rate-three")
    alone = int(HOST_RATE * ALONE_SECONDS)
    # Given a run on one host, without retries, whose pauses would be a part of the time
    stage.configure(alone, failure_rate=0)
    stage.worker_on(one)
    stage.produce()
    stage.await_finished(alone, run=1)
    # When two more join, and there is three times as much to do
    stage.worker_on(two, three)
    stage.configure(3 * alone, failure_rate=0)
    stage.produce()
    stage.await_finished(3 * alone, run=2)
    # Then it takes about as long
    first, second = (
        stage.terminal.run("monitor", str(run), "--once", "--json").json for run in (1, 2)
    )
    assert second["average_rate"] / first["average_rate"] >= 2.7
    stage.assert_proven(alone, run=1)
    stage.assert_proven(3 * alone, run=2)


@pytest.mark.ci
@pytest.mark.hosts
def test_a_host_that_is_cut_off_does_not_hold_up_the_others(site: Site, stage: Stage) -> None:
    lost, *others = hosts_of(site, "cut-one", "cut-two", "cut-three")
    total = int(HOST_RATE * 80)
    stage.configure(total)
    stage.worker_on(lost, *others)
    stage.produce()
    stage.await_finished(int(HOST_RATE * 6))
    # When one of three is cut off
    lost.pull()
    rate = stage.rate_over(CUT_SECONDS)
    # Then the two others go on as they would without it
    assert rate >= 0.8 * len(others) * HOST_RATE
    # And when it is back, all comes to its end, and nothing is lost or counted twice
    lost.plug()
    stage.await_finished(total)
    stage.assert_proven(total)


@pytest.mark.hosts
@pytest.mark.timeout(300)
def test_a_database_that_can_not_be_reached_for_a_minute(site: Site, stage: Stage) -> None:
    hosts = hosts_of(site, "db-one", "db-two")
    total = int(HOST_RATE * 40)
    stage.configure(total)
    stage.worker_on(*hosts)
    stage.produce()
    stage.await_finished(int(HOST_RATE * 6))
    # When the cables to the database are pulled
    for host in hosts:
        host.to_database.pull()
    *_, (_, before) = stage.readings(DATABASE_CUT_SECONDS)
    # Then soon after they are back, settling goes on
    for host in hosts:
        host.to_database.plug()
    wait_until(lambda: stage.finished() > before, RECOVERY_SECONDS, "settling goes on again")
    wait_until(lambda: stage.finished() >= total, PATIENCE_SECONDS, "the run ends")
    stage.assert_proven(total)
