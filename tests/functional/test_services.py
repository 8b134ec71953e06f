"""The test services themselves: faults do what they say, and data outlives them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from pytest_celery import CeleryTestSetup

from tests.services.nursery import Nursery
from tests.services.postgres import PostgresNode
from tests.services.processes import GuardedProcess
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

pytest_plugins = ["tests.services.cluster"]

#: Generous: only a failure waits this long.
PATIENCE_SECONDS = 30.0

#: How long a publish that must not be confirmed is given to be confirmed after all.
BLOCKED_SECONDS = 1.0

PERSISTENT = 2
MESSAGES = 200

#: A stand-in application: the services are proven without the package they are to test.
STAND_IN = """
import os
import click
from celery import Celery

app = Celery("stand_in", broker=os.environ["CELERY_BROKER_URL"])
app.conf.update(task_acks_late=True, worker_pool="solo", task_default_queue="sms.fast")
app.user_options["worker"].add(click.Option(("--profile",)))


@app.task(name="note")
def note(path, text):
    with open(path, "a") as file:
        file.write(text)
"""


def _queue(name: str, queue_type: str = "quorum") -> Queue:
    exchange = Exchange(f"exchange.{name}", type="topic")
    arguments = {"x-queue-type": queue_type}
    return Queue(name, exchange, routing_key=name, durable=True, queue_arguments=arguments)


def _publish(url: str, queue: Queue, count: int = 1, timeout: float = PATIENCE_SECONDS) -> None:
    """Publish persistent messages and wait for each to be confirmed.

    Raises:
        AMQPError, OSError: Not confirmed in time, or the connection was lost.
    """
    connection = Connection(url, transport_options={"confirm_publish": True})
    try:
        queue(connection).declare()
        producer = connection.Producer()
        for number in range(count):
            producer.publish(
                {"number": number},
                exchange=queue.exchange,
                routing_key=queue.routing_key,
                delivery_mode=PERSISTENT,
                timeout=timeout,
                confirm_timeout=timeout,
            )
    finally:
        # Not `release`: it says goodbye, and a broker that blocks us never answers.
        connection.collect(socket_timeout=timeout)


def _consume_all(url: str, queue: Queue) -> list[int]:
    numbers = []
    with Connection(url) as connection, connection.channel() as channel:
        bound = queue(channel)
        while (message := bound.get()) is not None:
            numbers.append(message.payload["number"])
            message.ack()
    return numbers


def test_persistent_messages_survive_a_killed_broker(
    rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    # Given 200 confirmed messages in a quorum queue
    queue = _queue("durable")
    _publish(broker_url, queue, MESSAGES)
    assert rabbitmq.queue_depths(broker_url) == {"durable": MESSAGES}

    # When the broker is killed and started again
    first, port = rabbitmq.pid, rabbitmq.port
    assert psutil.Process(first).name() == "beam.smp"
    rabbitmq.kill()
    assert not rabbitmq.running
    rabbitmq.restart()

    # Then it is another process on the same port, and has every one of them
    assert rabbitmq.pid != first
    assert rabbitmq.port == port
    assert sorted(_consume_all(broker_url, queue)) == list(range(MESSAGES))


def test_depths_count_unacknowledged_messages_and_every_type_of_queue(
    rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    # Given a quorum and a classic queue
    quorum, classic = _queue("a.quorum"), _queue("a.classic", "classic")
    _publish(broker_url, quorum, 3)
    _publish(broker_url, classic, 2)

    # When a message of each is delivered and not acknowledged
    with Connection(broker_url) as connection, connection.channel() as channel:
        for queue in (quorum, classic):
            assert queue(channel).get() is not None

        # Then they still count, at once
        assert rabbitmq.queue_depths(broker_url)["a.quorum"] == 3
        wait_until(
            lambda: rabbitmq.queue_depths(broker_url) == {"a.quorum": 3, "a.classic": 2},
            PATIENCE_SECONDS,
            "both queues count their unacknowledged message",
        )


def test_a_paused_broker_keeps_connections_and_does_not_answer(
    rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    # Given a declared queue and a paused broker
    queue = _queue("frozen")
    _publish(broker_url, queue)
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer()
        producer.publish({"number": 0}, exchange=queue.exchange, routing_key="frozen")
        rabbitmq.pause()

        # When something is published, then it is not confirmed
        with pytest.raises((AMQPError, OperationalError, OSError)):
            producer.publish(
                {"number": 1},
                exchange=queue.exchange,
                routing_key="frozen",
                timeout=BLOCKED_SECONDS,
                confirm_timeout=BLOCKED_SECONDS,
            )

        # And after resuming the broker is the same one and works
        rabbitmq.resume()
    _publish(broker_url, queue)
    assert rabbitmq.queue_depths(broker_url)["frozen"] >= 3


def test_a_memory_alarm_blocks_a_confirmed_publish_until_it_is_cleared(
    rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    # Given a queue and a memory alarm
    queue = _queue("alarmed")
    _publish(broker_url, queue)
    rabbitmq.set_memory_alarm()

    # When something is published, then it is not confirmed
    with pytest.raises((AMQPError, OperationalError, OSError)):
        _publish(broker_url, queue, timeout=BLOCKED_SECONDS)

    # And a publish that waits is confirmed as soon as the alarm is over
    publisher = threading.Thread(target=_publish, args=(broker_url, queue), daemon=True)
    publisher.start()
    publisher.join(BLOCKED_SECONDS)
    assert publisher.is_alive()
    rabbitmq.clear_memory_alarm()
    publisher.join(PATIENCE_SECONDS)
    assert not publisher.is_alive()
    assert rabbitmq.queue_depths(broker_url)["alarmed"] >= 2


def test_closing_all_connections_ends_those_of_one_virtual_host(
    rabbitmq: RabbitMQNode, broker_url: str
) -> None:
    # Given a connection here and one elsewhere
    with Connection(broker_url) as here, Connection(rabbitmq.url) as elsewhere:
        here.connect()
        elsewhere.connect()

        # When all connections of this virtual host are closed
        rabbitmq.close_all_connections(broker_url)

        # Then this one is lost and the other is not
        with pytest.raises((AMQPError, OSError)):
            here.drain_events(timeout=PATIENCE_SECONDS)
        assert elsewhere.default_channel.is_open


def test_two_virtual_hosts_do_not_see_each_other(rabbitmq: RabbitMQNode, broker_url: str) -> None:
    # Given another virtual host
    other = rabbitmq.new_vhost("other")
    try:
        # When messages go to queues of the same name
        queue = _queue("same")
        _publish(broker_url, queue, 3)
        _publish(other, queue, 1)

        # Then each has its own
        assert rabbitmq.queue_depths(broker_url) == {"same": 3}
        assert rabbitmq.queue_depths(other) == {"same": 1}
        assert rabbitmq.queue_depths() == {}
    finally:
        rabbitmq.delete_vhost("other")


def test_committed_rows_survive_a_killed_database(
    postgres: PostgresNode, postgres_url: str
) -> None:
    # Given a committed row, a second one that is not, and a backend at work
    database = postgres_url.replace("+psycopg", "")
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE note (text TEXT)")
        connection.execute("INSERT INTO note VALUES ('committed')")
        connection.commit()
        connection.execute("INSERT INTO note VALUES ('not committed')")

        # When the server is killed
        postgres.kill()
        assert not postgres.running
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    # Then after a restart the first row is there, the second is not
    postgres.restart()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT text FROM note").fetchall() == [("committed",)]


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_database_url_is_of_the_kind_asked_for(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    assert database_url.startswith(request.node.callspec.params["database_url"])


def test_a_process_dies_with_the_test_process(tmp_path: Path) -> None:
    # Given a test process that has started a process, in a thread that is over
    script = f"""
import threading, time
from pathlib import Path
from tests.services.processes import GuardedProcess
def start():
    process = GuardedProcess(["sleep", "600"], cwd=Path("/"), environment={{}},
                             log=Path({str(tmp_path / "log")!r}))
    print(process.pid, flush=True)
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(600)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True
    ) as tester:
        assert tester.stdout is not None
        child = psutil.Process(int(tester.stdout.readline()))
        assert child.is_running()

        # When that test process is killed
        tester.kill()

    # Then so is what it has started
    wait_until(lambda: _is_over(child), PATIENCE_SECONDS, "the child is killed")


def _is_over(process: psutil.Process) -> bool:
    """Ended; a zombie's parent may be an init that does not reap."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def cluster_app(tmp_path: Path) -> str:
    """The stand-in, in the folder the workers run in."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    return "stand_in"


def _note(app: Celery, path: Path, text: str) -> None:
    """On a connection of its own: a pooled one to a killed broker loses the message in silence."""
    with app.connection_for_write() as connection:
        app.send_task("note", args=(str(path), text), queue="sms.fast", connection=connection)


def _wait_for(path: Path, text: str) -> None:
    """Perhaps noted twice: a worker killed between its work and the acknowledgement does both."""
    wait_until(
        lambda: path.exists() and text in path.read_text(),
        PATIENCE_SECONDS,
        f"the worker has noted {text!r}",
    )


def _module(tmp_path: Path, code: str, nursery: Nursery) -> GuardedProcess:
    (tmp_path / "module_under_test.py").write_text(code)
    return GuardedProcess(
        [sys.executable, "-m", "module_under_test", "one", "two"],
        cwd=tmp_path,
        environment={"COLOUR": "blue"},
        log=tmp_path / "module.log",
        nursery=nursery,
    )


def test_a_forked_process_is_as_if_it_was_started(tmp_path: Path, nursery: Nursery) -> None:
    code = "import os, sys; print(sys.argv[1:], dict(os.environ), os.getcwd()); sys.exit(7)"
    process = _module(tmp_path, code, nursery)
    assert process.wait(PATIENCE_SECONDS) == 7
    assert process.log_tail() == f"['one', 'two'] {{'COLOUR': 'blue'}} {tmp_path}\n"


def test_a_forked_process_shows_its_traceback(tmp_path: Path, nursery: Nursery) -> None:
    process = _module(tmp_path, "1 / 0", nursery)
    assert process.wait(PATIENCE_SECONDS) == 1
    assert "ZeroDivisionError" in process.log_tail()


def test_a_forked_process_is_killed_with_its_group(tmp_path: Path, nursery: Nursery) -> None:
    # Given a process with a child of its own
    code = "import signal, subprocess as s; print(s.Popen(['sleep', '600']).pid); signal.pause()"
    process = _module(tmp_path, code, nursery)
    number = wait_until(process.log_tail, PATIENCE_SECONDS, "a child is there")
    child = psutil.Process(int(number))

    # When it is killed, then so is its child
    process.kill()
    assert process.exit_code == -signal.SIGKILL
    wait_until(lambda: _is_over(child), PATIENCE_SECONDS, "the child is killed")


def test_celery_setup_survives_a_killed_worker_and_a_killed_broker(
    celery_setup: CeleryTestSetup, tmp_path: Path
) -> None:
    # Given a worker that works
    notes = tmp_path / "notes"
    assert celery_setup.ready()
    _note(celery_setup.app, notes, "a")
    _wait_for(notes, "a")

    # When it is killed, work arrives, and it is started again, then the work is done
    celery_setup.worker.kill()
    assert celery_setup.worker.container.status == "exited"
    _note(celery_setup.app, notes, "b")
    celery_setup.worker.restart()
    _wait_for(notes, "b")

    # When the broker is killed and started again, then the same worker goes on
    worker = celery_setup.worker.container.process.pid
    celery_setup.broker.kill()
    celery_setup.broker.restart()
    _note(celery_setup.app, notes, "c")
    _wait_for(notes, "c")
    assert celery_setup.worker.container.process.pid == worker
    assert celery_setup.ready()


def test_a_worker_ends_on_sigterm_and_a_broken_one_shows_its_log(
    start_worker: Callable[..., WorkerProcess], cluster_app: str
) -> None:
    # Given a worker, when it is asked to end, then it does so in good order
    worker = start_worker("fast", app=cluster_app)
    worker.term()
    assert worker.wait() == 0

    # And after a restart it can be killed
    worker.restart()
    worker.kill()
    assert worker.exit_code == -signal.SIGKILL

    # And one that cannot start says why
    with pytest.raises(AssertionError, match="no_such_app"):
        start_worker("fast", app="no_such_app")
