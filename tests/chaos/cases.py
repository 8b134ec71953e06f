"""The table of cases: each fault in the usual setting, and the settings spread over the faults."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.chaos.faults import Fault
from tests.chaos.scenario import Load, Setting

QUORUM_1 = Setting()
QUORUM_3 = Setting(workers=3)
CLASSIC_1 = Setting(queue_type="classic")
CLASSIC_3 = Setting(queue_type="classic", workers=3)
POSTGRES_1 = Setting(database="postgresql")
POSTGRES_3 = Setting(database="postgresql", workers=3)
CLASSIC_POSTGRES_1 = Setting(queue_type="classic", database="postgresql")
CLASSIC_POSTGRES_3 = Setting(queue_type="classic", database="postgresql", workers=3)
SILENT_3 = Setting(workers=3, events=False)
FLOWER_1 = Setting(flower=True)
CLASSIC_FLOWER_3 = Setting(queue_type="classic", database="postgresql", workers=3, flower=True)
TWO_PROFILES = Setting(profiles=2)
FAILING_OVER = Setting(profiles=2, failover=True)
CLASSIC_POSTGRES_TWO_PROFILES = Setting(queue_type="classic", database="postgresql", profiles=2)

#: Half of all attempts fail, so that many retries are published.
FAILING = Load(messages=4_000, failure_rate=0.5)
#: Many messages expire as soon as anything takes longer than usual.
HURRIED = Load(deadline=2.5)
#: Longer than a run takes, and less than the clock is set by.
TIMED = Load(deadline=60.0)
#: Long enough for events and confirms to get in one another's way, if they can.
LONG = Load(messages=400_000, batch_size=200, mean_time=0.001, failure_rate=0.1, senders=30)


@dataclass(frozen=True)
class Case:
    """A fault in a setting."""

    fault: Fault
    setting: Setting
    #: Whether `make test` runs it, too.
    ci: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """Names the fault, and what is unusual about the setting."""
        setting, words = self.setting, [self.fault.value]
        words += [setting.queue_type] * (setting.queue_type != "quorum")
        words += [setting.database] * (setting.database != "sqlite")
        words += [f"{setting.workers}-workers"] * (setting.workers > 1)
        words += [f"{setting.profiles}-profiles"] * (setting.profiles > 1)
        words += ["no-events"] * (not setting.events)
        words += ["flower"] * setting.flower
        words += [self.note] * bool(self.note)
        return "-".join(words)


CASES = (
    Case(Fault.CALM, QUORUM_1, ci=True),
    Case(Fault.CALM, CLASSIC_FLOWER_3),
    Case(Fault.CALM, Setting(workers=2, flower=True, load=LONG), note="long"),
    Case(Fault.WORKER_KILL, QUORUM_1, ci=True),
    Case(Fault.WORKER_KILL, POSTGRES_3),
    Case(Fault.WORKER_KILL, CLASSIC_3),
    Case(Fault.WORKER_KILL, TWO_PROFILES),
    Case(Fault.WORKER_KILL, CLASSIC_POSTGRES_TWO_PROFILES),
    Case(Fault.WORKER_KILL, replace(QUORUM_1, load=HURRIED), note="deadline"),
    Case(Fault.PROFILE_KILL, FAILING_OVER, ci=True),
    Case(Fault.PROFILE_KILL, replace(CLASSIC_POSTGRES_TWO_PROFILES, failover=True)),
    Case(Fault.OUTAGE, replace(FAILING_OVER, outage=True)),
    Case(Fault.OUTAGE, replace(CLASSIC_POSTGRES_TWO_PROFILES, failover=True, outage=True)),
    Case(Fault.WORKER_KILL, FAILING_OVER, note="failover"),
    Case(Fault.WORKER_FREEZE, QUORUM_3, ci=True),
    Case(Fault.WORKER_FREEZE, CLASSIC_POSTGRES_3),
    Case(Fault.WORKER_TERM, QUORUM_3, ci=True),
    Case(Fault.WORKER_TERM, CLASSIC_POSTGRES_3),
    Case(Fault.WORKER_CHURN, QUORUM_1),
    Case(Fault.WORKER_CHURN, CLASSIC_POSTGRES_1),
    Case(Fault.FOREIGN_LEDGER, QUORUM_1),
    Case(Fault.FOREIGN_LEDGER, CLASSIC_POSTGRES_3),
    Case(Fault.KILL_AFTER_PLAY, QUORUM_1),
    Case(Fault.KILL_AFTER_PLAY, CLASSIC_POSTGRES_3),
    Case(Fault.KILL_AFTER_COMMIT, QUORUM_1, ci=True),
    Case(Fault.KILL_AFTER_COMMIT, CLASSIC_POSTGRES_3),
    Case(Fault.KILL_AFTER_RETRY, QUORUM_1, ci=True),
    Case(Fault.KILL_AFTER_RETRY, CLASSIC_3),
    Case(Fault.PRODUCER_KILL_BEFORE_PUBLISH, QUORUM_1, ci=True),
    Case(Fault.PRODUCER_KILL_BEFORE_PUBLISH, CLASSIC_POSTGRES_3),
    Case(Fault.PRODUCER_KILL_AFTER_PUBLISH, QUORUM_1),
    Case(Fault.PRODUCER_KILL_AFTER_PUBLISH, POSTGRES_3),
    Case(Fault.TWO_RESUMES, QUORUM_1),
    Case(Fault.TWO_RESUMES, POSTGRES_3),
    Case(Fault.MONITOR_KILL, QUORUM_1),
    Case(Fault.BROKER_KILL, QUORUM_1, ci=True),
    Case(Fault.BROKER_KILL, POSTGRES_3),
    Case(Fault.BROKER_KILL, CLASSIC_3),
    Case(Fault.BROKER_KILL, replace(QUORUM_1, load=HURRIED), note="deadline"),
    Case(Fault.BROKER_KILL_EARLY, QUORUM_1),
    Case(Fault.BROKER_KILL_EARLY, POSTGRES_3),
    Case(Fault.BROKER_FREEZE, QUORUM_1),
    Case(Fault.BROKER_FREEZE, CLASSIC_POSTGRES_3),
    Case(Fault.RETRIES_STUCK, QUORUM_1),
    Case(Fault.MEMORY_ALARM, replace(QUORUM_1, load=FAILING), ci=True),
    Case(Fault.MEMORY_ALARM, replace(CLASSIC_POSTGRES_3, load=FAILING)),
    Case(Fault.CONNECTIONS_CLOSED, QUORUM_1, ci=True),
    Case(Fault.CONNECTIONS_CLOSED, FLOWER_1),
    Case(Fault.CONNECTIONS_CLOSED, CLASSIC_POSTGRES_3),
    Case(Fault.EVERYTHING_TWICE, QUORUM_1, ci=True),
    Case(Fault.EVERYTHING_TWICE, POSTGRES_3),
    Case(Fault.EVERYTHING_TWICE, CLASSIC_3),
    Case(Fault.EVERYTHING_TWICE, replace(POSTGRES_3, load=HURRIED), note="deadline"),
    Case(Fault.SAME_BATCH_AT_ONCE, QUORUM_3, ci=True),
    Case(Fault.SAME_BATCH_AT_ONCE, POSTGRES_3),
    Case(Fault.STALE_ATTEMPT, QUORUM_1, ci=True),
    Case(Fault.STALE_ATTEMPT, CLASSIC_POSTGRES_3),
    Case(Fault.GARBAGE, QUORUM_1, ci=True),
    Case(Fault.GARBAGE, CLASSIC_3),
    Case(Fault.LEFTOVER_BATCH, QUORUM_1),
    Case(Fault.LEFTOVER_BATCH, CLASSIC_3),
    Case(Fault.DELIVERY_LIMIT, QUORUM_1, ci=True),
    Case(Fault.POSTGRES_KILL, POSTGRES_1, ci=True),
    Case(Fault.POSTGRES_KILL, POSTGRES_3),
    Case(Fault.DATABASE_LINK_CUT, POSTGRES_1),
    Case(Fault.DATABASE_LINK_CUT, CLASSIC_POSTGRES_3),
    Case(Fault.READ_ONLY_DATABASE, POSTGRES_1),
    Case(Fault.READ_ONLY_DATABASE, CLASSIC_POSTGRES_3),
    Case(Fault.SQLITE_LOCK, QUORUM_1),
    Case(Fault.SQLITE_LOCK, SILENT_3),
    Case(Fault.DISK_FULL, QUORUM_1),
    Case(Fault.WRONG_CLOCK, SILENT_3),
    Case(Fault.WRONG_CLOCK, CLASSIC_POSTGRES_3),
    Case(Fault.STEPPED_CLOCK, replace(QUORUM_1, load=TIMED)),
    Case(Fault.STEPPED_CLOCK, replace(CLASSIC_POSTGRES_3, load=TIMED)),
    Case(Fault.PAUSE, QUORUM_1),
    Case(Fault.PAUSE, CLASSIC_POSTGRES_3),
    Case(Fault.CANCEL, QUORUM_1, ci=True),
    Case(Fault.CANCEL, CLASSIC_POSTGRES_3),
    Case(Fault.EMBEDDED_KILL, QUORUM_1),
)
