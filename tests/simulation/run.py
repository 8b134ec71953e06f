"""Plays one seed, and says what is wrong with what came of it."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.verdict import AuditResult, Verdict
from tests.chaos.checker import check
from tests.chaos.evidence import Evidence
from tests.simulation import setting as settings
from tests.simulation.chance import Chance, Fired, Place, Step
from tests.simulation.world import StuckError, World, virtual

#: A run may be sealed once a producer that has something to note must be gone.
_UNTIL_SEALED = 20.0
#: By then workers have written what came twice.
_UNTIL_NOTED = 130.0


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    problems: list[str]
    fired: list[Fired]
    seen: Counter[tuple[str, str]]
    #: Messages, and those delivered by more than one attempt.
    messages: int
    sent_twice: int = 0
    #: Virtual.
    seconds: float = 0.0


class MemoryEvidence(Evidence):
    """Reads the ledger in memory by plain SQL."""

    def __init__(self, engine: object, run: int) -> None:
        self._engine = engine  # type: ignore[assignment]
        self._run = run


def play(
    seed: int,
    keep: Collection[Place] | None = None,
    tell: Callable[[float, Step], None] | None = None,
) -> Outcome:
    """Play a run.

    Args:
        seed: everything follows from it.
        keep: only the faults at these places happen; None: all that the seed chooses.
        tell: is told of every effect, and when it was asked for.
    """
    setting = settings.draw(Chance(seed).stream("setting"))
    with virtual(seed, setting):
        world = World(seed, setting, keep)
        if tell:
            world.chance.tell = lambda step: tell(world.hub.now, step)
        outcome = Outcome(
            seed, [], world.chance.fired, world.chance.seen, setting.simulation.num_messages
        )
        try:
            outcome.problems += _course(world, outcome)
        except StuckError as error:
            outcome.problems.append(str(error))
        finally:
            world.hub.close()
        outcome.problems += _crashes(world)
        outcome.seconds = world.hub.now
    return outcome


def _course(world: World, outcome: Outcome) -> list[str]:
    world.play()
    if not world.hub.crashes:
        world.heal()
    if world.hub.crashes:
        return []
    problems = _losses(world)
    if not _is_done(world):
        world.resume(force=not world.setting.resume_waits)
        world.settle_down()
    if world.hub.crashes:
        return []
    problems += _proofs(world, outcome)
    if not problems and world.setting.comes_back:
        problems += _after_the_end(world)
    return problems


def _is_done(world: World) -> bool:
    run = world.own.run(world.run.id)
    return run.next_index >= run.total and not world.own.unsettled(run.id)


def _losses(world: World) -> list[str]:
    """Before anybody resumes: what is missing, and why it may be."""
    problems = [
        f"batch {message.batch} was put aside as if it were garbage"
        for message in world.broker.refused
        if message.batch is not None
    ]
    stored = {message.batch for message in world.broker.stored}
    for entry in world.own.unsettled(world.run.id):
        number = entry.row.number
        never_published = number not in stored and world.was_interrupted
        if number not in world.broker.missing and not never_published:
            problems.append(f"batch {number} is lost, and no fault explains that")
    run = world.own.run(world.run.id)
    if run.next_index < run.total and not world.was_interrupted:
        problems.append(f"messages from {run.next_index} on were never dispatched")
    return problems


def _proofs(world: World, outcome: Outcome) -> list[str]:
    """What must hold of a run that was healed and resumed."""
    world.hub.agenda.run(_in(world, _UNTIL_SEALED))
    audit = _audit(world)
    problems = list(audit.problems)
    if audit.verdict is not Verdict.PROVEN:
        problems.append(f"the audit says {audit.verdict}, not proven")
    evidence = MemoryEvidence(world.database.engine, world.run.id)
    findings = check(world.run.total, evidence.recorded(), world.journal.entries)
    problems += findings.problems()
    outcome.sent_twice = len(findings.sent_twice)
    if findings.sent_twice and not outcome.fired:
        problems.append(f"{len(findings.sent_twice)} messages sent twice, and nothing went wrong")
    return problems


def _after_the_end(world: World) -> list[str]:
    """A run that was sealed stays as it is, whatever comes back."""
    before = _audit(world).seal
    world.bring_back()
    world.settle_down()
    world.hub.agenda.run(_in(world, _UNTIL_NOTED))
    after = _audit(world)
    problems = [f"after the end: {problem}" for problem in after.problems]
    # Clocks may differ so much that it was too early to seal it.
    if before is not None and after.seal != before:
        problems.append("the seal changed after the end")
    return problems


def _audit(world: World) -> AuditResult:
    return audit_ledger(world.own, world.run, clock=world.own._clock)


def _in(world: World, seconds: float) -> Callable[[], bool]:
    until = world.hub.now + seconds
    return lambda: world.hub.now >= until


def _crashes(world: World) -> list[str]:
    return [
        f"{process} ended with {''.join(traceback.format_exception_only(error)).strip()}"
        for process, error in world.hub.crashes
    ]
