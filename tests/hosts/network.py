"""Hosts on two networks: one to the broker, one to the database. Any cable can be pulled.

A host is a network namespace with a host name of its own. Broker and database run on this machine,
which has an address in both networks.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

#: Nobody routes these; the third part of the address is the test's.
BROKER_NETWORK, DATABASE_NETWORK = "10.91", "10.92"
#: The last part of this machine's address; hosts follow.
_OWN = 1
#: Linux takes names of network devices of up to 15 characters.
_PREFIX = "sms"


def unavailable() -> str | None:
    """None if hosts can be made here, else the reason why not."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [name for name in ("ip", "unshare") if shutil.which(name) is None]:
        return f"not installed: {', '.join(missing)}"
    probe = f"{_PREFIX}probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.decode().strip()}"
    run("netns", "del", probe)
    return None


def run(*arguments: str) -> None:
    """`ip` with these arguments; AssertionError if it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Switch:
    """One network: a bridge with this machine on it."""

    def __init__(self, network: str, number: int) -> None:
        """Make it."""
        self._subnet = f"{network}.{number}"
        self._bridge = f"{_PREFIX}{network[-2:]}b{number}"
        self.address = f"{self._subnet}.{_OWN}"
        run("link", "add", self._bridge, "type", "bridge")
        run("addr", "add", f"{self.address}/24", "dev", self._bridge)
        run("link", "set", self._bridge, "up")

    def connect(self, namespace: str, device: str, place: int) -> Cable:
        """Lead a cable into a namespace, where its end is called `device`."""
        port = f"{self._bridge}p{place}"
        run("link", "add", device, "netns", namespace, "type", "veth", "peer", "name", port)
        run("-n", namespace, "addr", "add", f"{self._subnet}.{_OWN + place}/24", "dev", device)
        run("-n", namespace, "link", "set", device, "up")
        run("link", "set", port, "up")
        cable = Cable(port, self._bridge)
        cable.plug()
        return cable

    def remove(self) -> None:
        """Take it away; cables go with their namespaces."""
        run("link", "del", self._bridge)


class Cable:
    """What connects a host to a switch. Pulled, it swallows what is sent, as a dead line does."""

    def __init__(self, port: str, bridge: str) -> None:
        """It is not plugged in yet."""
        self._port = port
        self._bridge = bridge

    def plug(self) -> None:
        """Connect it."""
        run("link", "set", self._port, "master", self._bridge)

    def pull(self) -> None:
        """Neither side hears of it; both just get no more answers."""
        run("link", "set", self._port, "nomaster")


class Host:
    """A namespace with a host name and a cable into each network."""

    def __init__(self, name: str, namespace: str, to_broker: Cable, to_database: Cable) -> None:
        """Its namespace and cables are there."""
        self.name = name
        self.namespace = namespace
        self.to_broker = to_broker
        self.to_database = to_database

    @property
    def prefix(self) -> Sequence[str]:
        """Before a command: runs it on this host, as the same process."""
        shell = f'hostname {self.name} && exec "$@"'
        return ("ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", shell, "sh")

    def pull(self) -> None:
        """Cut it off from everything."""
        self.to_broker.pull()
        self.to_database.pull()

    def plug(self) -> None:
        """Undo it."""
        self.to_broker.plug()
        self.to_database.plug()


class Network:
    """Two switches and as many hosts as wanted; all are gone after the block."""

    def __init__(self) -> None:
        """Nothing is made yet."""
        #: Of tests that run side by side each needs its own.
        self._number = random.randrange(1, 255)
        self._namespaces: list[str] = []

    def __enter__(self) -> Self:
        """Make the switches."""
        self._broker = Switch(BROKER_NETWORK, self._number)
        self._database = Switch(DATABASE_NETWORK, self._number)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take all away."""
        for namespace in self._namespaces:
            run("netns", "del", namespace)
        self._broker.remove()
        self._database.remove()

    @property
    def broker_address(self) -> str:
        """Where a broker on this machine must listen."""
        return self._broker.address

    @property
    def database_address(self) -> str:
        """Where a database on this machine must listen."""
        return self._database.address

    def host(self, name: str) -> Host:
        """Another host."""
        place = len(self._namespaces) + 1
        namespace = f"{_PREFIX}{self._number}h{place}"
        run("netns", "add", namespace)
        self._namespaces.append(namespace)
        run("-n", namespace, "link", "set", "lo", "up")
        to_broker = self._broker.connect(namespace, "eth0", place)
        to_database = self._database.connect(namespace, "eth1", place)
        return Host(name, namespace, to_broker, to_database)
