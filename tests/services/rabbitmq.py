"""A private RabbitMQ node that can be killed, paused and starved of memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.services.processes import GuardedProcess, free_port, processes_with_environment
from tests.services.waiting import wait_until

#: Debian's own scripts. Those on PATH are wrappers that change to the user rabbitmq.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

#: Its own epmd keeps the node apart from every other Erlang node, so one name does for all. The
#: host part must resolve, and the machine's real name may not.
NODE_NAME = "sms_tests@localhost"
LOOPBACK = "127.0.0.1"

#: What nodes of one cluster have in common; Erlang insists that only its owner may read it.
COOKIE, COOKIE_MODE = ".erlang.cookie", 0o400

#: An idle machine needs 3 s; one that runs other tests at the same time has needed 10.
START_SECONDS = 90.0
STOP_SECONDS = 20.0

#: One rabbitmqctl takes about 0.6 s, one erl_call 10 ms.
COMMAND_SECONDS = 30.0

DEFAULT_VHOST = "/"

#: RabbitMQ answers a wrong protocol header with the right one, and closes the connection.
WRONG_HEADER = b"BADHEADR"
RIGHT_HEADER_START = b"AMQP"
HANDSHAKE_SECONDS = 2.0

#: Above this share of memory publishers are blocked: 0 blocks at once, 0.4 is the default.
ALARMING_WATERMARK = "0"
USUAL_WATERMARK = "0.4"

#: A laptop with a full disk would otherwise block every publisher.
CONFIGURATION = """disk_free_limit.absolute = 1MB
loopback_users = none
"""

#: As in docker-compose.yml: otherwise a message that could not be dead-lettered at once, as happens
#: while a killed broker starts again, waits for three minutes.
SETTINGS = {"dead_letter_worker_publisher_confirm_timeout": 5_000}

#: The last expression of every evaluation, and how its value is shown: proof that it got there.
EVALUATED = "evaluated"
EVALUATED_RESULT = "{ok, evaluated}"
NOT_CONNECTED = "failed to connect to node"

#: Prints a line per queue: messages (ready and unacknowledged), a tab, the name. The figures of
#: a quorum queue in `list_queues` are refreshed every 5 s only, so its state machine is asked. A
#: worker's private queue may vanish while its process is asked; the exit reason is in a tuple.
QUEUE_DEPTHS = """
lists:foreach(
  fun(Queue) ->
    Count = case amqqueue:get_type(Queue) of
      rabbit_quorum_queue ->
        {{ok, Total, _}} = ra:consistent_query(
          amqqueue:get_pid(Queue), fun rabbit_fifo:query_messages_total/1, 15000),
        Total;
      _ ->
        try proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]))
        catch exit:{{Reason, _}} when Reason =:= normal; Reason =:= noproc -> vanished
        end
    end,
    {{resource, _, queue, Name}} = amqqueue:get_name(Queue),
    Count =:= vanished orelse io:format("~b\\t~s~n", [Count, Name])
  end,
  rabbit_amqqueue:list({vhost}))
"""

NEW_VHOST = """
rabbit_vhost:add({vhost}, <<"tests">>),
rabbit_auth_backend_internal:set_permissions(
  <<"guest">>, {vhost}, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
"""

REGISTER_TO_DISK = "[ok = dets:sync(Table) || Table <- dets:all()]"

DELETE_VHOST = 'rabbit_vhost:delete({vhost}, <<"tests">>)'


class RabbitMQNode:
    """One node, its ports fixed when it is made, its state in one folder.

    Messages survive `kill` and `restart`: the ports and folders stay the same.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, int] = SETTINGS,
        address: str = LOOPBACK,
        name: str = NODE_NAME,
        first: RabbitMQNode | None = None,
    ) -> None:
        """Choose ports. Nothing is started or written yet.

        Args:
            folder: For configuration, data and logs.
            settings: Settings of the broker that rabbitmq.conf does not know.
            address: Where it listens for clients.
            name: Of the node; of a cluster each needs its own.
            first: A node of the cluster that this one is to join.
        """
        self.folder = folder
        self.address = address
        self.name = name
        self._first = first
        self._settings = settings
        self.port = free_port()
        self._distribution_port = free_port()
        self._epmd_port = first._epmd_port if first else free_port()
        self._epmd: GuardedProcess | None = None
        self._server: GuardedProcess | None = None
        self._is_alarmed = False
        self._is_paused = False

    @staticmethod
    def available() -> str | None:
        """None if a node can be started here, else the reason why not."""
        missing = [
            name
            for name, path in {
                "rabbitmq-server": shutil.which("rabbitmq-server", path=SCRIPTS),
                "rabbitmqctl": shutil.which("rabbitmqctl", path=SCRIPTS),
                "epmd": shutil.which("epmd"),
                "erl_call": shutil.which("erl_call"),
            }.items()
            if path is None
        ]
        return f"RabbitMQ is not installed ({', '.join(missing)} missing)" if missing else None

    @property
    def url(self) -> str:
        """The default virtual host's URL."""
        return self.url_of(DEFAULT_VHOST)

    def url_of(self, vhost: str) -> str:
        """The URL of a virtual host; that of `/` ends in two slashes."""
        path = DEFAULT_VHOST if vhost == DEFAULT_VHOST else quote(vhost, safe="")
        return f"amqp://guest:guest@{self.address}:{self.port}/{path}"

    @property
    def running(self) -> bool:
        """Whether the server process exists; it may be paused or still starting."""
        return self._server is not None and self._server.running

    @property
    def pid(self) -> int:
        """The server's process id (the Erlang machine itself, no script around it)."""
        return self._started.pid

    # -- life and death

    def start(self) -> None:
        """Start and wait until it is ready. Harmless if it runs."""
        if not self.running:
            self._write_configuration()
            self._start_epmd()
            self._is_paused = False
            self._server = self._spawn(SCRIPTS / "rabbitmq-server", "server.log")
        self.wait_ready()
        if self._first is not None:
            self._join(self._first)

    def _join(self, first: RabbitMQNode) -> None:
        """Make it a member of the other's cluster, once; it forgets what it held."""
        self._first = None
        for step in (("stop_app",), ("join_cluster", first.name), ("start_app",)):
            self.ctl(*step)
        self.wait_ready()

    def stop(self) -> None:
        """Shut down in good order and leave no process behind, in whatever state it is."""
        if self._server is not None:
            self._server.end(signal.SIGTERM, STOP_SECONDS)
        if self._epmd is not None:
            self._epmd.kill()
        wait_until(lambda: not self.leftovers(), STOP_SECONDS, "the node's helpers end")

    def kill(self, *, settle: bool = True) -> None:
        """SIGKILL the server: no message, no goodbye. Works on a paused one too.

        Args:
            settle: First put the register of quorum queues on disk. RabbitMQ (3.10 at least)
                writes it 0.5 s late: killed before that, it loses the queues declared since, with
                every confirmed message in them, and each use of one times out for ever.
        """
        if settle and self.running and not self._is_paused:
            with suppress(AssertionError, OSError, subprocess.TimeoutExpired):
                self.evaluate(REGISTER_TO_DISK)
        self._started.kill()

    def signal(self, number: int) -> None:
        """Send the server a signal."""
        self._started.signal(number)

    def restart(self) -> None:
        """Start again after a kill, or shut down and start if it runs; same ports and folders."""
        if self._server is not None:
            self._server.end(signal.SIGTERM, STOP_SECONDS)
        self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nobody answers."""
        self._is_paused = True
        self._started.pause()

    def resume(self) -> None:
        """Undo a pause; harmless without one."""
        self._is_paused = False
        self._started.resume()

    def heal(self) -> None:
        """Undo whatever a test did to it, so that the next one finds it in order."""
        if self.running:
            self.resume()
        self.start()
        if self._is_alarmed:
            self.clear_memory_alarm()

    def wait_ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until it speaks AMQP.

        Raises:
            AssertionError: It ended instead, or the time is up.
        """
        wait_until(self._answers, timeout, f"RabbitMQ answers on port {self.port}")

    def leftovers(self) -> list[int]:
        """The ids of all processes of this node, found by their environment."""
        name, value = "RABBITMQ_MNESIA_BASE", self._environment()["RABBITMQ_MNESIA_BASE"]
        return [process.pid for process in processes_with_environment(name, value)]

    # -- faults

    def set_memory_alarm(self) -> None:
        """Block every publisher, and return when the alarm is in force."""
        self._is_alarmed = True
        self.ctl("set_vm_memory_high_watermark", ALARMING_WATERMARK)
        wait_until(self._has_alarm, COMMAND_SECONDS, "the memory alarm goes off")

    def clear_memory_alarm(self) -> None:
        """Let publishers go on, and return when the alarm is over."""
        self.ctl("set_vm_memory_high_watermark", USUAL_WATERMARK)
        wait_until(lambda: not self._has_alarm(), COMMAND_SECONDS, "the memory alarm ends")
        self._is_alarmed = False

    def close_all_connections(self, url: str | None = None) -> None:
        """Close every connection from the broker's side, or those of one virtual host."""
        scope = [] if url is None else ["--vhost", _vhost_of(url)]
        self.ctl("close_all_connections", *scope, "closed by a test")

    # -- virtual hosts and queues

    def new_vhost(self, name: str) -> str:
        """Make a virtual host that guest may use, and return its URL."""
        self.evaluate(NEW_VHOST.format(vhost=_binary(name)))
        return self.url_of(name)

    def delete_vhost(self, name: str) -> None:
        """Delete it with all it holds; its connections are closed."""
        self.evaluate(DELETE_VHOST.format(vhost=_binary(name)))

    def queue_depths(self, url: str | None = None) -> dict[str, int]:
        """Messages in every queue by name, ready and unacknowledged together, as of now.

        Args:
            url: Of the virtual host; the default one if not given.
        """
        vhost = DEFAULT_VHOST if url is None else _vhost_of(url)
        output = self.evaluate(QUEUE_DEPTHS.format(vhost=_binary(vhost)))
        rows = (line.split("\t", 1) for line in output.splitlines())
        return {name: int(count) for count, name in rows}

    # -- commands

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on the node and return what it printed.

        Raises:
            AssertionError: It failed; the message has its output.
        """
        return self._run([str(SCRIPTS / "rabbitmqctl"), "--quiet", *arguments])

    def evaluate(self, expressions: str) -> str:
        """Evaluate Erlang on the node and return what it printed: 60 times faster than `ctl`.

        Args:
            expressions: One or several, with commas between them and no full stop.

        Raises:
            AssertionError: It failed; the message has the output. (erl_call itself exits with 0.)
        """
        command = ["erl_call", "-sname", self.name, "-c", self._cookie(), "-fetch_stdout", "-e"]
        output = self._call(command, f"{expressions},\n{EVALUATED}.\n").rstrip()
        assert output.endswith(EVALUATED_RESULT), f"{expressions}: {output}"
        return output.removesuffix(EVALUATED_RESULT)

    def _call(self, command: list[str], stdin: str) -> str:
        """A node with too much to do takes no connection: then nothing was evaluated yet."""
        deadline = time.monotonic() + COMMAND_SECONDS
        while True:
            try:
                return self._run(command, stdin)
            except AssertionError as error:
                if NOT_CONNECTED not in str(error) or time.monotonic() > deadline:
                    raise

    def _run(self, command: list[str], stdin: str = "") -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _has_alarm(self) -> bool:
        return "memory" in self.evaluate('io:format("~p", [rabbit_alarm:get_alarms()])')

    # -- starting

    def _write_configuration(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        if self._first is not None:
            cookie = self.folder / COOKIE
            cookie.write_text(self._first._cookie())
            cookie.chmod(COOKIE_MODE)

    def _start_epmd(self) -> None:
        """Our own and as our child: the one that Erlang would start by itself never ends."""
        if self._epmd is None or not self._epmd.running:
            self._epmd = self._spawn(shutil.which("epmd") or "epmd", "epmd.log")
        wait_until(lambda: _accepts(self._epmd_port), START_SECONDS, "epmd listens")

    def _spawn(self, program: str | Path, log: str) -> GuardedProcess:
        return GuardedProcess(
            [program],
            cwd=self.folder,
            environment=self._environment(),
            log=self.folder / log,
        )

    @property
    def _started(self) -> GuardedProcess:
        assert self._server is not None, "the node was never started"
        return self._server

    def _answers(self) -> bool:
        assert self.running, f"RabbitMQ ended by itself:\n{self._started.log_tail()}"
        with (
            suppress(OSError),
            socket.create_connection((self.address, self.port), HANDSHAKE_SECONDS) as connection,
        ):
            connection.settimeout(HANDSHAKE_SECONDS)
            connection.sendall(WRONG_HEADER)
            return connection.recv(len(RIGHT_HEADER_START)) == RIGHT_HEADER_START
        return False

    def _cookie(self) -> str:
        return (self.folder / COOKIE).read_text()

    def _environment(self) -> dict[str, str]:
        """Everything in the node's own folder, nothing from /etc or /var."""
        return _without(os.environ, ("RABBITMQ_", "ERL_")) | {
            "HOME": str(self.folder),  # The cookie is kept here.
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(
                f"-rabbit {name} {value}" for name, value in self._settings.items()
            ),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            # The start script then becomes the server instead of a shell around it, so that a
            # signal to our child is a signal to the server.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def _without(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(prefixes)}


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), HANDSHAKE_SECONDS).close()
    except OSError:
        return False
    return True


def _vhost_of(url: str) -> str:
    return unquote(urlsplit(url).path[1:]) or DEFAULT_VHOST


def _binary(text: str) -> str:
    """An Erlang binary; only names that need no escaping."""
    assert text.isascii() and not set(text) & set('"\\'), f"not a plain name: {text!r}"
    return f'<<"{text}">>'
