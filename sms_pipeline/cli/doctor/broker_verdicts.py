"""What was seen at a broker, and the remedy. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from sms_pipeline.broker import topology
from sms_pipeline.cli.doctor.broker_link import Address, Greeting, Trouble
from sms_pipeline.cli.doctor.check import Check, fault, ok, unknown, warning
from sms_pipeline.cli.doctor.management import Members
from sms_pipeline.core.counts import how_many

ALARMS = "alarms"
RIGHTS = "user rights"
QUEUES = "queues"
DELAY = "delayed delivery"
TRANSFERS = "dead-letter timeout"
LIMIT = "delivery limit"
PREFETCH = "queue type"
MEMBERS = "queue members"
TIMEOUT = "consumer timeout"
CLUSTER = "cluster"

#: The first with dead-lettering at least once, on which retries rest.
_OLDEST_VERSION = (3, 10)
#: The first that denies what Celery needs on classic queues.
_WITHOUT_GLOBAL_PREFETCH = (4, 3)
#: How much later than asked for a delayed message may come.
_LATE_SECONDS = 1.0
#: A retry that RabbitMQ could not hand on must not be stuck for longer.
LONGEST_TRANSFER_SECONDS = 8.0
#: RabbitMQ's own setting.
_DEFAULT_TRANSFER_SECONDS = 180
_DEFAULT_CONSUMER_MINUTES = 30
#: Returns that a message must survive: RabbitMQ 4 drops it after 20 unless told otherwise.
LEAST_RETURNS = 25
#: On so many nodes a queue survives the loss of one.
_WANTED_MEMBERS = 3
#: So many rights are named, the others counted.
_NAMED = 4

_VARIABLE = "CELERY_BROKER_URL"


def name_of(address: Address) -> str:
    """What the check of one URL is called."""
    return f"broker {address}"


def unreachable(address: Address, trouble: Trouble, words: str) -> Check:
    """There is no connection."""
    vhost, user = shlex.quote(address.vhost), shlex.quote(address.user)
    new_rights = f"rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'"
    finding, remedy = {
        Trouble.NO_SUCH_HOST: (
            f"no host is called {address.host}",
            f"correct the host in {_VARIABLE}",
        ),
        Trouble.NOBODY_LISTENS: (
            f"nobody listens on port {address.port}",
            f"start RabbitMQ (make services installs it), or correct {_VARIABLE}",
        ),
        Trouble.NO_ANSWER: (
            f"no answer: {words}",
            f"check that {address.host} is up and that a firewall lets port {address.port} "
            f"through: nc -vz {shlex.quote(address.host)} {address.port}",
        ),
        Trouble.NOT_A_BROKER: (
            f"what listens on port {address.port} does not speak AMQP: {words}",
            f"correct host and port in {_VARIABLE}; a port with TLS, often 5671, needs amqps://",
        ),
        Trouble.LOGIN: (
            f"user {address.user} is refused: unknown, a wrong password, or "
            "guest from another host",
            f"correct user and password in {_VARIABLE}, or: "
            f"rabbitmqctl add_user {user} PASSWORD; {new_rights}",
        ),
        Trouble.NO_SUCH_VHOST: (
            f"there is no virtual host {address.vhost}",
            f"correct it in {_VARIABLE}, or: rabbitmqctl add_vhost {vhost}; {new_rights}",
        ),
        Trouble.VHOST_RIGHTS: (
            f"user {address.user} may not use the virtual host {address.vhost}",
            new_rights,
        ),
        Trouble.TLS: (
            f"TLS failed: {words}",
            "use amqps:// only for a port with TLS, and trust the broker's certificate "
            "authority: export SSL_CERT_FILE=ca.pem",
        ),
        Trouble.OTHER: (words, f"correct {_VARIABLE}; the broker's log may say more"),
    }[trouble]
    return fault(name_of(address), finding, remedy)


def reached(address: Address, greeting: Greeting, queue_type: str) -> Check:
    """It answers; whether its version will do."""
    told = f"{greeting.product} {greeting.version}, cluster {greeting.cluster}"
    version = version_of(greeting.version)
    if greeting.product != "RabbitMQ":
        return fault(name_of(address), told, "use RabbitMQ: others lack delayed delivery")
    if version and version < _OLDEST_VERSION:
        return fault(
            name_of(address),
            f"{told}: retries can get lost before 3.10",
            "upgrade RabbitMQ to 3.13 or newer",
        )
    if version >= _WITHOUT_GLOBAL_PREFETCH and queue_type == "classic":
        return fault(name_of(address), f"{told}: too new for classic queues", _USE_QUORUM)
    return ok(name_of(address), told)


_USE_QUORUM = "use quorum queues: export SMS_QUEUE_TYPE=quorum"


def version_of(text: str) -> tuple[int, ...]:
    """(3, 13) of "3.13.7-rc.1"; empty if there is none."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def same_cluster(greetings: Mapping[str, Greeting]) -> Check:
    """Several URLs must lead to nodes of one cluster."""
    clusters = {greeting.cluster for greeting in greetings.values()}
    if len(clusters) > 1:
        told = ", ".join(f"{at} is {greeting.cluster}" for at, greeting in greetings.items())
        return fault(
            CLUSTER,
            f"the URLs are of different clusters: {told}",
            f"name only nodes of one cluster in {_VARIABLE}, or join them: "
            "rabbitmqctl stop_app; rabbitmqctl join_cluster rabbit@HOST; rabbitmqctl start_app",
        )
    return ok(CLUSTER, f"{how_many(len(greetings), 'node')} of {', '.join(clusters)}")


def takes_messages(seconds: float) -> Check:
    """The broker answers to messages."""
    return ok(ALARMS, f"none: the broker answered to a message after {seconds * 1_000:.0f} ms")


def blocked() -> Check:
    """It takes none."""
    return fault(
        ALARMS,
        "the broker blocks publishers: it is short of memory or disk space",
        "rabbitmq-diagnostics alarms; then free disk space, give it more memory, or drain queues",
    )


def rights(address: Address, missing: Sequence[str]) -> Check:
    """Whether the user may do what a run does; `missing` are rights such as "read queue x"."""
    if not missing:
        return ok(RIGHTS, f"{address.user} may configure, write and read what a run needs")
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    vhost, user = shlex.quote(address.vhost), shlex.quote(address.user)
    return fault(
        RIGHTS,
        f"{address.user} may not {', '.join(missing[:_NAMED])}{more}",
        f"rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'",
    )


def queues(address: Address, found: Sequence[str], disagreements: Mapping[str, str]) -> Check:
    """Whether queues that are there are as a run declares them.

    Args:
        address: of the broker.
        found: names of those that are there.
        disagreements: what the broker said, by queue.
    """
    if not disagreements:
        if not found:
            return ok(QUEUES, "none yet; workers and producers make them")
        return ok(QUEUES, f"as a run declares them: {', '.join(found)}")
    name, words = next(iter(disagreements.items()))
    more = f", and {len(disagreements) - 1} more" if len(disagreements) > 1 else ""
    vhost = shlex.quote(address.vhost)
    return fault(
        QUEUES,
        f"queue {name} was declared in another way{more}: {_difference(words)}",
        "when it is empty and nobody uses it: "
        f"rabbitmqctl delete_queue -p {vhost} {shlex.quote(name)} --if-empty --if-unused",
    )


def silent_queue(address: Address, name: str) -> Check:
    """A queue does not answer: it is there in name only, or its nodes are away."""
    queue, vhost = shlex.quote(name), shlex.quote(address.vhost)
    return fault(
        QUEUES,
        f"queue {name} is there but does not answer: most of its nodes are down, or RabbitMQ was "
        "killed just after the queue was made and has lost what was in it",
        f"start the nodes; if they are up: rabbitmqctl delete_queue -p {vhost} {queue}, restart "
        "the workers, and send again what is missing: sms-pipeline resume",
    )


#: How RabbitMQ shows a value beside one that is not set.
_TYPED = r"^the value ('.*') of type '.*'$"


def _difference(words: str) -> str:
    """The heart of "PRECONDITION_FAILED - inequivalent arg 'x' for …: received a but …"."""
    found = re.search(r"inequivalent arg '(.+?)'.*: received (.+) but current is (.+)$", words)
    if not found:
        return words
    argument, wanted, there = (re.sub(_TYPED, r"\1", part) for part in found.groups())
    return f"{argument} is {there}, a run wants {wanted}"


def delay(wanted: float, took: float | None, patience: float) -> Check:
    """Whether a message came when its time was up."""
    if took is None:
        return fault(
            DELAY,
            f"a message with a delay of {wanted:g} s did not come within {patience:g} s: "
            "retries would not come either",
            "look into RabbitMQ's log; restart it if it was killed a short time ago",
        )
    if took > wanted + _LATE_SECONDS:
        return warning(
            DELAY,
            f"a message with a delay of {wanted:g} s took {took:.1f} s",
            "look whether the broker is overloaded: rabbitmq-diagnostics status",
        )
    return ok(DELAY, f"a message with a delay of {wanted:g} s came after {took:.2f} s")


def partial_delay(found: int, wanted: int) -> Check:
    """Some of the queues for retries are missing."""
    return warning(
        DELAY,
        f"only {found} of the {wanted} queues in which retries wait are there",
        "start a worker: it makes the others",
    )


def delay_on_classic() -> Check:
    """Retries do not wait at the broker."""
    return ok(DELAY, "not used: with classic queues retries wait in workers")


def transfers(took: float | None) -> Check:
    """How soon RabbitMQ tries again to hand on a retry that had no queue to go to."""
    if took is None:
        return warning(
            TRANSFERS,
            f"longer than {LONGEST_TRANSFER_SECONDS:g} s: a retry that can't be handed on at once, "
            f"as after a crash, waits for up to {_DEFAULT_TRANSFER_SECONDS} s",
            "rabbitmqctl eval 'application:set_env(rabbit, "
            "dead_letter_worker_publisher_confirm_timeout, 5000).' and in advanced.config: "
            "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].",
        )
    return ok(TRANSFERS, f"a retry that can't be handed on is tried again within {took:.1f} s")


def limit(times: int) -> Check:
    """How often a batch may come back to its queue."""
    if times < LEAST_RETURNS:
        return fault(
            LIMIT,
            f"a message was dropped after it was returned {how_many(times, 'time')}: workers that "
            "are killed or restarted would lose batches to the dead letters",
            f"let no policy set a delivery-limit below {topology.DELIVERY_LIMIT}: "
            "rabbitmqctl list_policies; rabbitmqctl list_operator_policies",
        )
    return ok(LIMIT, f"a message that was returned {how_many(times, 'time')} is still there")


def limit_on_classic() -> Check:
    """Messages come back as often as it takes."""
    return ok(LIMIT, "none: classic queues have none")


def prefetch(is_taken: bool, queue_type: str) -> Check:
    """Whether workers can limit what they take from the queues of this type."""
    if queue_type == "classic" and not is_taken:
        return fault(
            PREFETCH, "classic: the broker denies the prefetch that Celery sets there", _USE_QUORUM
        )
    return ok(PREFETCH, queue_type)


def members(found: Sequence[Members], nodes: Sequence[str]) -> Check:
    """Whether queues are kept on enough nodes of the cluster, and those nodes are there."""
    without_majority = [one for one in found if len(one.online) <= len(one.members) // 2]
    if without_majority:
        queue, at, online = without_majority[0]
        return fault(
            MEMBERS,
            f"queue {queue} has {len(online)} of its {how_many(len(at), 'member')}, and needs "
            "more than half",
            f"start {_listed(set(at) - set(online))}",
        )
    reduced = [one for one in found if len(one.online) < len(one.members)]
    if reduced:
        queue, at, online = reduced[0]
        return warning(
            MEMBERS,
            f"queue {queue} has {len(online)} of its {how_many(len(at), 'member')}",
            f"start {_listed(set(at) - set(online))}",
        )
    wanted = min(_WANTED_MEMBERS, len(nodes))
    few = [one for one in found if len(one.members) < wanted]
    if few:
        queue, at, _ = few[0]
        are = "is" if len(few) == 1 else "are"
        joining = sorted(set(nodes) - set(at))[0]
        return warning(
            MEMBERS,
            f"{len(few)} of {how_many(len(found), 'queue')} {are} not kept on {wanted} of the "
            f"{how_many(len(nodes), 'node')}: {queue} is on {_listed(at)}",
            f"rabbitmq-queues grow {joining} all",
        )
    if not found:
        return ok(MEMBERS, f"no queue yet, on {how_many(len(nodes), 'node')}")
    kept = f"each of {how_many(len(found), 'queue')} is kept"
    return ok(MEMBERS, f"{kept} on {wanted} of {how_many(len(nodes), 'node')}")


def members_of_classic() -> Check:
    """They have none."""
    return ok(MEMBERS, "classic queues are kept on one node")


def _listed(nodes: Iterable[str]) -> str:
    return ", ".join(sorted(nodes))


def members_not_told(address: Address, port: int, queue: str) -> Check:
    """The management plugin does not answer."""
    return unknown(
        MEMBERS,
        f"only the management plugin tells, and on port {port} it does not",
        f"rabbitmq-queues quorum_status --vhost {shlex.quote(address.vhost)} {shlex.quote(queue)}",
    )


def consumer_timeout() -> Check:
    """Clients can't learn it."""
    return unknown(
        TIMEOUT,
        f"RabbitMQ does not tell; a worker needs {_DEFAULT_CONSUMER_MINUTES} min, the default",
        "rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).' must not be less than "
        f"{_DEFAULT_CONSUMER_MINUTES * 60_000}",
    )
