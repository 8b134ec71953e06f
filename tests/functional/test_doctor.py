"""`sms-pipeline doctor` against real services: nothing to say when all is well, and each fault."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import Connection

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.cli.doctor.examination import examine
from sms_pipeline.cli.doctor.ledger_steps import ledger_steps
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.settings import Settings
from sms_pipeline.ledger.store import Ledger
from tests.conftest import require
from tests.functional.terminal import Terminal
from tests.services import pgbouncer, postgres
from tests.services.pgbouncer import PgBouncer
from tests.services.postgres import PostgresNode
from tests.services.processes import free_port
from tests.services.proxy import Link
from tests.services.rabbitmq import RabbitMQNode
from tests.services.worker import WorkerProcess

HEALTHY, UNHEALTHY, INTERRUPTED = 0, 1, 130
#: Each wait of the doctor is a few seconds long; this is for a busy machine.
TOLD_WITHIN_SECONDS = 40.0
#: What it says of times that depend on how busy this machine is.
SLOW = ("a message with a delay of", "which limits the rate")
#: Between continents.
FAR_SECONDS = 0.06

QUORUM = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "sms.dead",
    "x-delivery-limit": 1_000,
}

#: As if the nodes of a queue were down.
STOP_QUEUE = """
{{ok, Queue}} = rabbit_amqqueue:lookup({{resource, <<"{vhost}">>, queue, <<"{queue}">>}}),
ok = ra:stop_server(quorum_queues, amqqueue:get_pid(Queue))
"""

ADD_USER = """
rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"secret">>, <<"tests">>),
rabbit_auth_backend_internal:set_permissions(
  <<"{user}">>, <<"{vhost}">>, <<"{configure}">>, <<"{write}">>, <<"{read}">>, <<"tests">>)
"""


class Checkup:
    """What the doctor said."""

    def __init__(self, terminal: Terminal, **changes: str | None) -> None:
        result = terminal.run("doctor", "--json", timeout=TOLD_WITHIN_SECONDS, **changes)
        self.code = result.code
        self.text = result.out + result.err
        self.checks: list[dict[str, Any]] = result.json["checks"]

    def states(self) -> set[str]:
        """All that occur; not whether this machine was slow, which other tests may have made it."""
        return {check["state"] for check in self.checks if not self._is_slow(check)}

    @staticmethod
    def _is_slow(check: dict[str, Any]) -> bool:
        return check["state"] == "warning" and any(words in check["finding"] for words in SLOW)

    def faults(self) -> list[str]:
        """Names of the checks that found one."""
        return [check["name"] for check in self.checks if check["state"] == "fault"]

    def one(self, name: str) -> dict[str, Any]:
        """The check of that name; of a broker without its address."""
        names = (name, f"{name} 127.0.0.1", f"{name} no-such-host")
        (found,) = (
            check for check in self.checks if check["name"].split(":")[0].split(".inv")[0] in names
        )
        return found

    def assert_fault(self, name: str, *words: str) -> None:
        """This check, and no other, found a fault, and says these words."""
        assert self.code == UNHEALTHY
        check = self.one(name)
        assert self.faults() == [check["name"]], self.text
        for word in words:
            assert word in check["finding"] + check["remedy"], check
        assert "secret" not in self.text
        assert "Traceback" not in self.text


@pytest.fixture(scope="module")
def durable_postgres() -> Iterator[PostgresNode]:
    """A server that keeps what is committed; the session's does not, to be faster."""
    require(PostgresNode.available())
    with postgres.running(settings={"fsync": "on", "max_connections": "60"}) as node:
        yield node


class ManagedNode(RabbitMQNode):
    """With the management plugin, on the port where the doctor looks for it."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        with (self.folder / "rabbitmq.conf").open("a") as configuration:
            configuration.write(f"management.tcp.port = {self.port + 10_000}\n")
            configuration.write("management.tcp.ip = 127.0.0.1\n")
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")


@pytest.fixture(scope="module")
def other_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A broker as it is installed, with the management plugin, in a cluster of its own."""
    require(RabbitMQNode.available())
    node = ManagedNode(tmp_path_factory.mktemp("other"), settings={}, name="sms_other@localhost")
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture
def durable_url(durable_postgres: PostgresNode) -> Iterator[str]:
    """An empty database that keeps what is committed."""
    durable_postgres.start()
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield durable_postgres.new_database(name)
    durable_postgres.drop_database(name)


@pytest.fixture
def healthy(terminal: Terminal, broker_url: str, durable_url: str) -> Terminal:
    """With RabbitMQ and PostgreSQL, both in order."""
    terminal.environment |= {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": durable_url}
    return terminal


def user_of(node: RabbitMQNode, url: str, **rights: str) -> str:
    """The URL of a new user of the same virtual host."""
    user = f"user_{uuid.uuid4().hex[:8]}"
    parts = urlsplit(url)
    node.evaluate(ADD_USER.format(user=user, vhost=parts.path[1:], **rights))
    return f"amqp://{user}:secret@127.0.0.1:{node.port}{parts.path}"


@contextmanager
def silent_port() -> Iterator[int]:
    """A port where connections are accepted, and where nobody ever says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


# Healthy


def test_a_healthy_set_up_yields_no_warning_and_nothing_is_left(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    checkup = Checkup(healthy)
    assert checkup.code == HEALTHY, checkup.text
    assert checkup.states() <= {"ok", "not known"}, checkup.text
    assert rabbitmq.queue_depths(broker_url) == {}
    assert "sms" not in rabbitmq.ctl("list_exchanges", "-p", urlsplit(broker_url).path[1:])
    assert tables_of(healthy.environment["SMS_DATABASE_URL"]) == 0


def test_it_stays_healthy_beside_workers_and_leaves_their_queues_alone(
    terminal: Terminal,
    rabbitmq: RabbitMQNode,
    broker_url: str,
    database_url: str,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    start_worker("fast")
    terminal.environment |= {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url}
    publish(broker_url, "sms.dead", 3)
    before = rabbitmq.queue_depths(broker_url)

    checkup = Checkup(terminal)

    assert checkup.code == HEALTHY, checkup.text
    assert checkup.states() <= {"ok", "not known"}, checkup.text
    assert "sms.fast" in checkup.one("queues")["finding"]
    assert rabbitmq.queue_depths(broker_url) == before
    assert before["sms.dead"] == 3


def test_without_a_broker_it_checks_what_run_needs_and_makes_no_ledger(terminal: Terminal) -> None:
    checkup = Checkup(terminal)
    assert checkup.code == HEALTHY, checkup.text
    assert checkup.states() == {"ok"}
    assert "inside the process" in checkup.one("broker")["finding"]
    assert not list(terminal.folder.glob("*.db*"))


def test_a_ledger_on_sqlite_is_read_and_stays_as_it_is(terminal: Terminal) -> None:
    assert terminal.run("run", "-n", "10").code == HEALTHY
    ledger = terminal.folder / "sms_pipeline.db"
    before = ledger.read_bytes()

    checkup = Checkup(terminal)

    assert checkup.code == HEALTHY, checkup.text
    assert checkup.states() == {"ok"}
    assert "tables of version" in checkup.one("ledger")["finding"]
    assert ledger.read_bytes() == before


def test_what_a_killed_run_has_left_is_not_tidied_up(terminal: Terminal) -> None:
    started = terminal.start("run", "-n", "10000")
    started.says("delivered")
    started.kill()
    files = [terminal.folder / f"sms_pipeline.db{end}" for end in ("", "-wal")]
    before = [file.read_bytes() for file in files]
    assert before[1]

    checkup = Checkup(terminal)

    assert checkup.states() == {"ok"}, checkup.text
    assert [file.read_bytes() for file in files] == before


def test_ctrl_c_ends_it_while_it_waits(healthy: Terminal) -> None:
    with silent_port() as port:
        url = f"amqp://guest:secret@127.0.0.1:{port}//"
        started = healthy.start("doctor", CELERY_BROKER_URL=url)
        started.says("configuration")
        started.interrupt()
        result = started.wait()
    assert result.code == INTERRUPTED
    assert "Traceback" not in result.err


def test_for_people_there_are_aligned_lines_and_a_sum(healthy: Terminal) -> None:
    result = healthy.run("doctor")
    assert result.code == HEALTHY
    *lines, last = result.out.splitlines()
    assert last.startswith("Healthy: ")
    (start,) = {line.index("RabbitMQ 3") for line in lines if "RabbitMQ 3" in line}
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)


# The broker


def test_a_broker_that_is_down(healthy: Terminal) -> None:
    url = f"amqp://guest:secret@127.0.0.1:{free_port()}//"
    Checkup(healthy, CELERY_BROKER_URL=url).assert_fault("broker", "nobody listens", "start")


def test_a_broker_that_never_answers(healthy: Terminal) -> None:
    with silent_port() as port:
        before = time.monotonic()
        checkup = Checkup(healthy, CELERY_BROKER_URL=f"amqp://guest:secret@127.0.0.1:{port}//")
        assert time.monotonic() - before < TOLD_WITHIN_SECONDS
    checkup.assert_fault("broker", "no answer", "firewall")


def test_something_that_is_no_broker(healthy: Terminal, durable_postgres: PostgresNode) -> None:
    url = f"amqp://guest:secret@127.0.0.1:{durable_postgres.port}//"
    Checkup(healthy, CELERY_BROKER_URL=url).assert_fault("broker", "AMQP")


def test_an_unknown_host(healthy: Terminal) -> None:
    checkup = Checkup(healthy, CELERY_BROKER_URL="amqp://guest:secret@no-such-host.invalid//")
    checkup.assert_fault("broker", "no host", "no-such-host.invalid")


def test_a_wrong_password(healthy: Terminal, broker_url: str) -> None:
    url = broker_url.replace("guest:guest", "guest:secret")
    checkup = Checkup(healthy, CELERY_BROKER_URL=url)
    checkup.assert_fault("broker", "user guest is refused", "rabbitmqctl")


def test_a_virtual_host_that_is_not_there(healthy: Terminal, rabbitmq: RabbitMQNode) -> None:
    checkup = Checkup(healthy, CELERY_BROKER_URL=rabbitmq.url_of("no such"))
    checkup.assert_fault("broker", "no virtual host", "rabbitmqctl add_vhost 'no such'")


def test_a_user_who_may_not_use_the_virtual_host(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    url = user_of(rabbitmq, broker_url, configure="", write="", read="")
    other = rabbitmq.url.rsplit("@")[1]
    user = urlsplit(url).username
    checkup = Checkup(healthy, CELERY_BROKER_URL=f"amqp://{user}:secret@{other}")
    checkup.assert_fault("broker", "may not use", f"rabbitmqctl set_permissions -p / {user}")


@pytest.mark.parametrize(
    ("right", "missing"),
    [
        ("configure", "configure queue sms.fast"),
        ("write", "write exchange sms"),
        ("read", "read queue sms.fast"),
    ],
)
def test_a_user_without_a_right(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str, right: str, missing: str
) -> None:
    rights = {"configure": ".*", "write": ".*", "read": ".*", right: "^$"}
    url = user_of(rabbitmq, broker_url, **rights)
    checkup = Checkup(healthy, CELERY_BROKER_URL=url)
    checkup.assert_fault("user rights", missing, "rabbitmqctl set_permissions")
    assert rabbitmq.queue_depths(broker_url) == {}


def test_a_user_with_the_rights_that_are_needed_and_no_others(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    needed = r"^(sms|celery|.*[.]celery[.]pidbox)"
    url = user_of(rabbitmq, broker_url, configure=needed, write=needed, read=needed)
    checkup = Checkup(healthy, CELERY_BROKER_URL=url)
    assert checkup.code == HEALTHY, checkup.text
    assert checkup.states() <= {"ok", "not known"}, checkup.text


def test_a_queue_of_another_type(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    arguments = {"x-queue-type": "classic", "x-dead-letter-exchange": "sms.dead"}
    declare(broker_url, "sms.fast", arguments)
    checkup = Checkup(healthy)
    checkup.assert_fault("queues", "sms.fast", "x-queue-type is 'classic'", "delete_queue")
    assert rabbitmq.queue_depths(broker_url) == {"sms.fast": 0}


def test_a_queue_that_is_there_in_name_only(healthy: Terminal, node_of_names: RabbitMQNode) -> None:
    checkup = Checkup(healthy, CELERY_BROKER_URL=node_of_names.url)
    checkup.assert_fault("queues", "sms.", "does not answer", "delete_queue")


def test_a_queue_whose_nodes_are_down(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    declare(broker_url, "sms.fast", QUORUM)
    rabbitmq.evaluate(STOP_QUEUE.format(vhost=urlsplit(broker_url).path[1:], queue="sms.fast"))
    checkup = Checkup(healthy)
    checkup.assert_fault("queues", "sms.fast", "does not answer", "delete_queue")
    assert checkup.one("delayed delivery")["state"] == "ok"


def test_a_broker_out_of_memory(healthy: Terminal, rabbitmq: RabbitMQNode) -> None:
    rabbitmq.set_memory_alarm()
    Checkup(healthy).assert_fault("alarms", "memory", "rabbitmq-diagnostics alarms")


def test_a_broker_that_is_far_away(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    # Given all queues, and a round trip as between continents
    publisher = Publisher.open(Settings(broker_url=broker_url), ["fast", "slow"])
    publisher.declare(["fast", "slow"], delays=True)
    with Link(rabbitmq.port, delay_seconds=FAR_SECONDS / 2) as link:
        url = broker_url.replace(f":{rabbitmq.port}/", f":{link.port}/")
        checkup = Checkup(healthy, CELERY_BROKER_URL=url)
    assert checkup.faults() == [], checkup.text
    assert checkup.one("queues")["state"] == "ok"


def test_a_frozen_broker(healthy: Terminal, rabbitmq: RabbitMQNode) -> None:
    rabbitmq.pause()
    Checkup(healthy).assert_fault("broker", "no answer")


def test_a_broker_as_it_is_installed(
    healthy: Terminal, other_rabbitmq: RabbitMQNode, durable_url: str
) -> None:
    declare(other_rabbitmq.url, "sms.slow", QUORUM)
    checkup = Checkup(healthy, CELERY_BROKER_URL=other_rabbitmq.url)
    assert checkup.code == HEALTHY, checkup.text
    assert checkup.one("dead-letter timeout")["state"] == "warning"
    assert "180 s" in checkup.one("dead-letter timeout")["finding"]
    assert checkup.one("queue members")["state"] == "ok"
    assert "each of 1 queue is kept on 1 of 1 node" in checkup.one("queue members")["finding"]


def test_urls_of_two_clusters(
    healthy: Terminal, other_rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    checkup = Checkup(healthy, CELERY_BROKER_URL=f"{broker_url};{other_rabbitmq.url}")
    assert checkup.faults() == ["cluster"], checkup.text
    assert "sms_other" in checkup.one("cluster")["finding"]


def test_one_of_two_brokers_is_down(healthy: Terminal, broker_url: str) -> None:
    down = free_port()
    url = f"amqp://guest:secret@localhost:{down}//;{broker_url}"
    checkup = Checkup(healthy, CELERY_BROKER_URL=url)
    assert checkup.faults() == [f"broker localhost:{down}"], checkup.text
    assert checkup.one("delayed delivery")["state"] == "ok"


def test_classic_queues(healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str) -> None:
    checkup = Checkup(healthy, SMS_QUEUE_TYPE="classic")
    assert checkup.code == HEALTHY, checkup.text
    assert checkup.states() <= {"ok", "not known"}, checkup.text
    assert rabbitmq.queue_depths(broker_url) == {}


def test_an_operators_limit_on_deliveries(
    healthy: Terminal, rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    vhost = urlsplit(broker_url).path[1:]
    policy = ("limits", "^sms", '{"delivery-limit": 5}', "--apply-to", "queues")
    rabbitmq.ctl("set_operator_policy", "-p", vhost, *policy)
    Checkup(healthy).assert_fault("delivery limit", "6 times", "list_operator_policies")


# The ledger


def test_a_database_that_is_down(healthy: Terminal) -> None:
    url = f"postgresql://sms:secret@127.0.0.1:{free_port()}/sms"
    Checkup(healthy, SMS_DATABASE_URL=url).assert_fault("ledger", "refused", "start PostgreSQL")


def test_a_database_that_never_answers(healthy: Terminal) -> None:
    with silent_port() as port:
        url = f"postgresql://sms:secret@127.0.0.1:{port}/sms"
        Checkup(healthy, SMS_DATABASE_URL=url).assert_fault("ledger", "timeout", "firewall")


def test_a_database_that_is_not_there(healthy: Terminal, durable_postgres: PostgresNode) -> None:
    checkup = Checkup(healthy, SMS_DATABASE_URL=durable_postgres.url_of("nothing"))
    checkup.assert_fault("ledger", "nothing", "createdb")


def test_a_ledger_of_another_version(terminal: Terminal) -> None:
    terminal.run("run", "-n", "10")
    with closing(sqlite3.connect(terminal.folder / "sms_pipeline.db")) as connection:
        connection.execute("UPDATE ledger_identity SET schema_version = 1")
        connection.commit()
    Checkup(terminal).assert_fault("ledger", "another version", "tables 1", "SMS_DATABASE_URL")


def test_a_ledger_of_another_version_on_postgresql(healthy: Terminal, durable_url: str) -> None:
    execute(durable_url, "CREATE TABLE ledger_identity (row int, schema_version int)")
    execute(durable_url, "INSERT INTO ledger_identity VALUES (1, 1)")
    Checkup(healthy).assert_fault("ledger", "another version", "tables 1", "SMS_DATABASE_URL")


def test_a_file_that_is_no_database(terminal: Terminal) -> None:
    (terminal.folder / "sms_pipeline.db").write_bytes(os.urandom(5_000))
    Checkup(terminal).assert_fault("ledger", "not a database", "SMS_DATABASE_URL")


def test_a_folder_that_is_not_there(terminal: Terminal) -> None:
    checkup = Checkup(terminal, SMS_DATABASE_URL="sqlite:///missing/ledger.db")
    checkup.assert_fault("ledger", "no folder", "mkdir -p")


def test_a_ledger_that_another_process_keeps_locked(terminal: Terminal) -> None:
    terminal.run("run", "-n", "10")
    with closing(sqlite3.connect(terminal.folder / "sms_pipeline.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        checkup = Checkup(terminal)
    assert checkup.code == HEALTHY
    assert checkup.one("ledger rights")["state"] == "warning"


def test_a_read_only_database(healthy: Terminal, durable_url: str) -> None:
    execute(durable_url, "ALTER DATABASE {name} SET default_transaction_read_only = on")
    Checkup(healthy).assert_fault("durability", "read-only", "target_session_attrs=read-write")


def test_a_database_of_another_encoding(healthy: Terminal, durable_postgres: PostgresNode) -> None:
    name = f"ascii_{uuid.uuid4().hex[:8]}"
    create = f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0"
    execute(durable_postgres.url, create)
    checkup = Checkup(healthy, SMS_DATABASE_URL=durable_postgres.url_of(name))
    checkup.assert_fault("durability", "SQL_ASCII", "--encoding UTF8")


def test_a_server_that_forgets_commits_in_a_crash(healthy: Terminal, postgres_url: str) -> None:
    checkup = Checkup(healthy, SMS_DATABASE_URL=postgres_url)
    assert checkup.code == HEALTHY
    assert checkup.one("durability")["state"] == "warning"


def test_a_user_of_the_database_without_rights(
    healthy: Terminal, durable_postgres: PostgresNode, durable_url: str
) -> None:
    user = f"user_{uuid.uuid4().hex[:8]}"
    execute(durable_url, f"CREATE USER {user}")
    url = durable_url.replace("postgres@", f"{user}@")
    checkup = Checkup(healthy, SMS_DATABASE_URL=url)
    checkup.assert_fault("ledger rights", "CREATE on schema public", "GRANT CREATE")


def test_a_user_who_may_read_the_ledger_only(healthy: Terminal, durable_url: str) -> None:
    Ledger.open(durable_url).close()
    user = f"user_{uuid.uuid4().hex[:8]}"
    execute(
        durable_url, f"CREATE USER {user}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"
    )
    checkup = Checkup(healthy, SMS_DATABASE_URL=durable_url.replace("postgres@", f"{user}@"))
    checkup.assert_fault("ledger rights", "INSERT on absorbed", "GRANT SELECT, INSERT")
    grants = "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {user}"
    execute(durable_url, grants.replace("{user}", user))
    checkup = Checkup(healthy, SMS_DATABASE_URL=durable_url.replace("postgres@", f"{user}@"))
    checkup.assert_fault("ledger rights", "USAGE on the sequence of runs")


def test_a_user_with_a_limit_of_connections(healthy: Terminal, durable_url: str) -> None:
    user = f"user_{uuid.uuid4().hex[:8]}"
    execute(durable_url, f"CREATE USER {user} CONNECTION LIMIT 10 SUPERUSER")
    checkup = Checkup(healthy, SMS_DATABASE_URL=durable_url.replace("postgres@", f"{user}@"))
    assert checkup.one("connections")["state"] == "warning"
    assert "of 10 left" in checkup.one("connections")["finding"]


def test_a_server_with_hardly_a_connection_left(
    healthy: Terminal, durable_postgres: PostgresNode, durable_url: str
) -> None:
    import psycopg

    address = durable_url.replace("+psycopg", "")
    held = [psycopg.connect(address) for _ in range(45)]
    try:
        checkup = Checkup(healthy)
    finally:
        for connection in held:
            connection.close()
    assert checkup.one("connections")["state"] == "warning"
    assert "max_connections" in checkup.one("connections")["remedy"]


@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
def test_a_pooler_is_noticed(
    healthy: Terminal, durable_postgres: PostgresNode, durable_url: str, pool_mode: str
) -> None:
    require(PgBouncer.available())
    with pgbouncer.running(durable_postgres, pool_mode=pool_mode, sessions=10) as pooler:
        url = postgres.at_port(durable_url, pooler.port)
        pooling = Checkup(healthy, SMS_DATABASE_URL=url).one("pooling")
    assert f"by {pool_mode}" in pooling["finding"], pooling


class ClockThatIsOff:
    """This machine's, some seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.monotonic = MACHINE_CLOCK.monotonic
        self.sleep = MACHINE_CLOCK.sleep

    def wall(self) -> float:
        """See `Clock.wall`."""
        return MACHINE_CLOCK.wall() + self._seconds


@pytest.mark.parametrize(
    ("seconds", "state", "word"),
    [(0, "ok", "agree"), (3, "warning", "ahead of"), (-3600, "fault", "behind")],
)
def test_a_clock_that_is_off(durable_url: str, seconds: float, state: str, word: str) -> None:
    steps = ledger_steps(durable_url, None, 5, ClockThatIsOff(seconds))
    checks = {check.name: check for check in examine([steps])}
    assert checks["clocks"].state == state
    assert word in checks["clocks"].finding
    assert checks["commit time"].state == "ok"


# Both, and this machine


def test_a_configuration_with_an_error(terminal: Terminal) -> None:
    terminal.configure(num_messages=-1)
    Checkup(terminal).assert_fault("configuration", "num_messages")


def test_celery_led_to_another_broker(healthy: Terminal) -> None:
    checkup = Checkup(healthy, CELERY_BROKER_READ_URL="amqp://guest:secret@elsewhere//")
    checkup.assert_fault("celery settings", "CELERY_BROKER_READ_URL", "unset")


def publish(url: str, queue: str, number: int) -> None:
    """Put messages straight into a queue; they are there once this is done."""
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer(routing_key=queue)
        for _ in range(number):
            producer.publish({}, declare=[])


def declare(url: str, queue: str, arguments: dict[str, Any]) -> None:
    """Make a durable queue."""
    with Connection(url) as connection:
        connection.default_channel.queue_declare(
            queue, durable=True, auto_delete=False, arguments=arguments
        )


def execute(url: str, statement: str) -> Any:
    """Run one statement, with the name of the database filled in; its first value, if any."""
    import psycopg

    name = urlsplit(url).path[1:]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement.format(name=name).encode())
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def tables_of(url: str) -> int:
    """How many tables a database has."""
    query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    return int(execute(url, query))
