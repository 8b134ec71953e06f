"""What was seen at a broker, and what it means."""

from __future__ import annotations

import socket
import ssl

import pytest
from amqp.exceptions import AccessRefused, NotAllowed, UnexpectedFrame

from sms_pipeline.cli.doctor import broker_verdicts as verdicts
from sms_pipeline.cli.doctor.broker_link import Address, Greeting, Trouble, address_of, trouble_of
from sms_pipeline.cli.doctor.check import Check, State
from sms_pipeline.cli.doctor.management import Members

ADDRESS = Address("rabbit.test", 5672, "my vhost", "al;ice")


def greeting(version: str = "3.13.7", product: str = "RabbitMQ", cluster: str = "c") -> Greeting:
    return Greeting(product, version, cluster)


def told(check: Check) -> tuple[State, str]:
    """Its state, and all its words."""
    return check.state, f"{check.finding} {check.remedy}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://u:p@h:1//", Address("h", 1, "/", "u")),
        ("amqp://u:p@h/v%2Fx", Address("h", 5672, "v/x", "u")),
        ("amqps://h", Address("h", 5671, "/", "guest")),
        ("amqp://", Address("localhost", 5672, "/", "guest")),
    ],
)
def test_the_parts_of_a_url(url: str, expected: Address) -> None:
    assert address_of(url) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(-2, "unknown"), Trouble.NO_SUCH_HOST),
        (ConnectionRefusedError(111, "refused"), Trouble.NOBODY_LISTENS),
        (ConnectionResetError(104, "reset"), Trouble.NOT_A_BROKER),
        (OSError("Server unexpectedly closed connection"), Trouble.NOT_A_BROKER),
        (UnexpectedFrame(), Trouble.NOT_A_BROKER),
        (OSError(113, "no route to host"), Trouble.NO_ANSWER),
        (TimeoutError("timed out"), Trouble.NO_ANSWER),
        (ssl.SSLError("wrong version"), Trouble.TLS),
        (AccessRefused("login"), Trouble.LOGIN),
        (NotAllowed("vhost x not found"), Trouble.NO_SUCH_VHOST),
        (NotAllowed("access to vhost x refused"), Trouble.VHOST_RIGHTS),
        (ValueError("else"), Trouble.OTHER),
    ],
)
def test_why_there_is_no_connection(error: Exception, expected: Trouble) -> None:
    assert trouble_of(error, str(error)) is expected


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_has_a_remedy(trouble: Trouble) -> None:
    check = verdicts.unreachable(ADDRESS, trouble, "words")
    assert check.name == "broker rabbit.test:5672"
    assert check.state is State.FAULT
    assert check.finding and check.remedy


def test_names_are_quoted_in_commands() -> None:
    check = verdicts.unreachable(ADDRESS, Trouble.VHOST_RIGHTS, "")
    assert check.remedy == "rabbitmqctl set_permissions -p 'my vhost' 'al;ice' '.*' '.*' '.*'"


@pytest.mark.parametrize(
    ("version", "queue_type", "state"),
    [
        ("3.9.29", "quorum", State.FAULT),
        ("3.10.8", "quorum", State.OK),
        ("4.2.1", "classic", State.OK),
        ("4.3.0", "classic", State.FAULT),
        ("4.3.0", "quorum", State.OK),
        ("strange", "quorum", State.OK),
    ],
)
def test_versions(version: str, queue_type: str, state: State) -> None:
    assert verdicts.reached(ADDRESS, greeting(version), queue_type).state is state


def test_brokers_that_are_not_rabbitmq() -> None:
    check = verdicts.reached(ADDRESS, greeting(product="LavinMQ"), "quorum")
    assert check.state is State.FAULT


def test_urls_of_one_cluster_and_of_two() -> None:
    one = {"a:1": greeting(), "b:1": greeting()}
    assert verdicts.same_cluster(one).state is State.OK
    state, words = told(verdicts.same_cluster({**one, "c:1": greeting(cluster="other")}))
    assert state is State.FAULT
    assert "c:1 is other" in words


def test_a_few_missing_rights_are_named_the_others_counted() -> None:
    assert verdicts.rights(ADDRESS, []).state is State.OK
    state, words = told(verdicts.rights(ADDRESS, [f"read queue {n}" for n in range(6)]))
    assert state is State.FAULT
    assert "read queue 3 and 2 more" in words
    assert "read queue 4" not in words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': "
            "received 'quorum' but current is 'classic'",
            "x-queue-type is 'classic', a run wants 'quorum'",
        ),
        (
            "inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': "
            "received the value '1000' of type 'signedint' but current is none",
            "x-delivery-limit is none, a run wants '1000'",
        ),
        ("something else", "something else"),
    ],
)
def test_how_a_queue_differs(said: str, expected: str) -> None:
    check = verdicts.queues(ADDRESS, ["q"], {"q": f"PRECONDITION_FAILED - {said}"})
    assert check.state is State.FAULT
    assert check.finding.endswith(expected)
    assert "delete_queue -p 'my vhost' q --if-empty" in (check.remedy or "")


def test_queues_in_order_and_none_at_all() -> None:
    assert "none yet" in verdicts.queues(ADDRESS, [], {}).finding
    check = verdicts.queues(ADDRESS, ["sms.fast"], {})
    assert check.state is State.OK and "sms.fast" in check.finding


@pytest.mark.parametrize(
    ("took", "state"),
    [(1.02, State.OK), (2.0, State.OK), (2.5, State.WARNING), (None, State.FAULT)],
)
def test_a_delayed_message(took: float | None, state: State) -> None:
    assert verdicts.delay(1, took, 5).state is state


@pytest.mark.parametrize(("took", "state"), [(5.1, State.OK), (None, State.WARNING)])
def test_a_repeated_transfer(took: float | None, state: State) -> None:
    assert verdicts.transfers(took).state is state


@pytest.mark.parametrize(
    ("times", "state"),
    [(verdicts.LEAST_RETURNS, State.OK), (verdicts.LEAST_RETURNS - 1, State.FAULT)],
)
def test_the_delivery_limit(times: int, state: State) -> None:
    assert verdicts.limit(times).state is state


@pytest.mark.parametrize(
    ("is_taken", "queue_type", "state"),
    [
        (True, "classic", State.OK),
        (False, "classic", State.FAULT),
        (False, "quorum", State.OK),
    ],
)
def test_the_prefetch_of_classic_queues(is_taken: bool, queue_type: str, state: State) -> None:
    assert verdicts.prefetch(is_taken, queue_type).state is state


NODES = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("found", "nodes", "state", "word"),
    [
        ([], NODES[:1], State.OK, "no queue yet"),
        ([Members("q", "a", "a")], NODES[:1], State.OK, "each of 1"),
        ([Members("q", "abc", "abc")], NODES, State.OK, "3 of 4"),
        ([Members("q", "a", "a")], NODES[:3], State.WARNING, "q is on a"),
        ([Members("q", "abc", "ab")], NODES, State.WARNING, "2 of its 3"),
        ([Members("q", "abc", "a")], NODES, State.FAULT, "1 of its 3"),
        ([Members("p", "abc", "ab"), Members("q", "ab", "a")], NODES, State.FAULT, "queue q"),
    ],
)
def test_members(found: list[Members], nodes: list[str], state: State, word: str) -> None:
    check = verdicts.members(found, nodes)
    assert check.state is state
    assert word in check.finding


def test_members_that_are_missing_are_named_in_the_remedy() -> None:
    assert verdicts.members([Members("q", "abc", "a")], NODES).remedy == "start b, c"
    grow = verdicts.members([Members("q", "ac", "ac")], NODES).remedy
    assert grow == "rabbitmq-queues grow b all"


def test_what_needs_no_judgement() -> None:
    assert verdicts.takes_messages(0.003).finding.endswith("3 ms")
    assert verdicts.blocked().state is State.FAULT
    assert verdicts.partial_delay(3, 28).state is State.WARNING
    assert verdicts.delay_on_classic().state is State.OK
    assert verdicts.limit_on_classic().state is State.OK
    assert verdicts.members_not_told(ADDRESS, 15672, "sms.fast").state is State.UNKNOWN
    assert verdicts.members_of_classic().state is State.OK
    assert verdicts.consumer_timeout().state is State.UNKNOWN
