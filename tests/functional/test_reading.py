"""PostgreSQL: who may only read is served, and the seal is worked out."""

from __future__ import annotations

from sqlalchemy import create_engine, make_url, text

from sms_pipeline.core.records import Control
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.steering import steer
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.views.lists import list_runs


def reader_of(url: str) -> str:
    """The URL of a role that may only read what is there."""
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    role = f"reader_{parsed.database}"
    engine = create_engine(parsed)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
    engine.dispose()
    return parsed.set(username=role).render_as_string(hide_password=False)


def test_a_role_that_may_only_select_is_served(postgres_url: str) -> None:
    # Given a run that has ended, which nobody has looked at
    ledger = Ledger.open(postgres_url)
    run = ledger.start_run(Simulation(num_messages=100), seed=1)
    steer(ledger, run, Control.CANCELLED)
    # When a reader without rights does
    reader = Ledger.open_to_read(reader_of(postgres_url))
    list_runs(reader)
    found = audit_ledger(reader, reader.run())
    reader.close()
    # Then it is proven, and the seal is the one that somebody with rights records
    assert found.verdict is Verdict.PROVEN, found.problems
    assert not found.sealed
    recorded = audit_ledger(ledger, run)
    assert recorded.sealed
    assert recorded.seal == found.seal
    ledger.close()
