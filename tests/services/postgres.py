"""A private PostgreSQL server that can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.engine import make_url

from tests.services.processes import KILL_SECONDS, GuardedProcess, free_port
from tests.services.waiting import wait_until

#: initdb and the server refuse to run as root.
SERVICE_USER = "postgres"
#: Owner everything, others may pass through to folders they own: the service's user is not root.
PASSABLE = 0o711

#: The newest of them is used; PATH comes second, because Debian keeps the server off it.
DEBIAN_BINARIES = "/usr/lib/postgresql/*/bin"

#: The server is up in 0.1 s; recovery after a kill takes longer.
START_SECONDS = 60.0
STOP_SECONDS = 20.0
CONNECT_SECONDS = 5

MAINTENANCE_DATABASE = "postgres"
LOOPBACK = "127.0.0.1"

SERVER_SETTINGS = {
    "unix_socket_directories": "",  # A test's folder is often too long a path for a socket.
    "max_connections": "200",
    # Only a power cut needs it: what a killed server has written is in the kernel's hands.
    "fsync": "off",
}


class PostgresNode:
    """One server on one port, its data in one folder; committed rows survive `kill`."""

    def __init__(
        self, folder: Path, address: str = LOOPBACK, settings: Mapping[str, str] | None = None
    ) -> None:
        """Choose a port. Nothing is started or written yet.

        Args:
            folder: Under root it is given to the user postgres, who must be able to reach it:
                a folder of `tmp_path` will not do there, because its parents are private.
            address: Where it listens.
            settings: Of the server, in place of those in `SERVER_SETTINGS`.
        """
        self.folder = folder
        self.address = address
        self._settings = {**SERVER_SETTINGS, **(settings or {})}
        self.port = free_port()
        self._user = SERVICE_USER if os.geteuid() == 0 else None
        self._server: GuardedProcess | None = None
        self._frozen: list[psutil.Process] = []

    @staticmethod
    def available() -> str | None:
        """None if a server can be started here, else the reason why not."""
        missing = [name for name in ("initdb", "postgres") if _find(name) is None]
        return f"PostgreSQL is not installed ({', '.join(missing)} missing)" if missing else None

    @property
    def url(self) -> str:
        """The maintenance database, as an SQLAlchemy URL."""
        return self.url_of(MAINTENANCE_DATABASE)

    def url_of(self, database: str) -> str:
        """The SQLAlchemy URL of a database, whether it exists or not."""
        return f"postgresql+psycopg://postgres@{self.address}:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Whether the server process exists; it may still be starting."""
        return self._server is not None and self._server.running

    def start(self) -> None:
        """Start (on first use: initialise) and wait until it is ready. Harmless if it runs."""
        if not self.running:
            self._initialise()
            self._server = self._spawn()
        self.wait_ready()

    def stop(self) -> None:
        """Shut down in good order; clients are disconnected."""
        if self._server is not None:
            self._server.end(signal.SIGINT, STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL the server and all its backends at once.

        Each backend leads a session of its own, so a signal to the group would miss them; and
        one left alive would commit, and keep the next server from starting.
        """
        server = self._started
        if not server.running:
            return
        server.pause()  # It must not start another backend meanwhile.
        backends = psutil.Process(server.pid).children(recursive=True)
        for backend in backends:
            with suppress(psutil.NoSuchProcess):
                backend.kill()
        server.kill()
        wait_until(lambda: not any(map(_is_alive, backends)), KILL_SECONDS, "all backends end")

    def pause(self) -> None:
        """Freeze the server and its backends: connections stay open, nobody answers."""
        self._started.pause()
        self._frozen = psutil.Process(self._started.pid).children(recursive=True)
        for backend in self._frozen:
            with suppress(psutil.NoSuchProcess):
                backend.suspend()

    def resume(self) -> None:
        """Undo a pause; harmless without one."""
        for backend in self._frozen:
            with suppress(psutil.NoSuchProcess):
                backend.resume()
        self._frozen = []
        self._started.resume()

    def restart(self) -> None:
        """Start again after a kill, or shut down and start if it runs; same port and data."""
        self.stop()
        self.start()

    def wait_ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until it answers queries.

        Raises:
            AssertionError: It ended instead, or the time is up.
        """
        wait_until(self._answers, timeout, f"PostgreSQL answers on port {self.port}")

    def new_database(self, name: str) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def set_read_only(self, name: str, read_only: bool) -> None:
        """Let a database only be read, as a standby would, or written again.

        Whoever uses it is disconnected when it becomes read-only. When it can be written again,
        those that connected meanwhile can only read: they still have their old session.
        """
        mode = "on" if read_only else "off"
        self.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {mode}')
        if read_only:
            sessions = f"FROM pg_stat_activity WHERE datname = '{name}'"
            self.execute(f"SELECT pg_terminate_backend(pid) {sessions}")

    def drop_database(self, name: str) -> None:
        """Drop it, disconnecting whoever uses it. Harmless if there is none."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run a statement in the maintenance database."""
        import psycopg  # Here, so that tests without a database do not load it.

        with psycopg.connect(self._connection_string(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _connection_string(self) -> str:
        return (
            f"host={self.address} port={self.port} user=postgres dbname={MAINTENANCE_DATABASE} "
            f"connect_timeout={CONNECT_SECONDS}"
        )

    @property
    def _started(self) -> GuardedProcess:
        assert self._server is not None, "the server was never started"
        return self._server

    def _answers(self) -> bool:
        import psycopg

        assert self.running, f"PostgreSQL ended by itself:\n{self._started.log_tail()}"
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        if self._data.exists():
            return
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
        command = [_find("initdb"), "--pgdata", self._data, "--username", "postgres"]
        options = ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        done = subprocess.run(
            [*map(str, command), *options],
            cwd="/",
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"initdb: {done.stdout}{done.stderr}"
        with (self._data / "pg_hba.conf").open("a") as access:
            access.write("host all all samenet trust\n")

    def _spawn(self) -> GuardedProcess:
        program = _find("postgres")
        assert program is not None
        given = {"listen_addresses": self.address, **self._settings}
        settings = [f"--{name}={value}" for name, value in given.items()]
        return GuardedProcess(
            [program, "-D", self._data, "-p", str(self.port), *settings],
            cwd=Path("/"),
            environment={
                name: value for name, value in os.environ.items() if not name.startswith("PG")
            },
            log=self.folder / "server.log",
            user=self._user,
        )


@contextmanager
def running(**options: Any) -> Iterator[PostgresNode]:
    """A server in a folder of its own, gone after the block; `options` as of `PostgresNode`."""
    # Not in pytest's temporary folder: that is private, and the server does not run as root.
    with tempfile.TemporaryDirectory(prefix="sms-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(PASSABLE)
        node = PostgresNode(Path(folder), **options)
        try:
            node.start()
            yield node
        finally:
            node.stop()


def at_port(url: str, port: int) -> str:
    """The same database, by way of another port: of a proxy, of a pooler."""
    return make_url(url).set(port=port).render_as_string(hide_password=False)


def _find(program: str) -> Path | None:
    folders = sorted(Path("/").glob(DEBIAN_BINARIES.lstrip("/")), key=_version, reverse=True)
    for folder in folders:
        if (folder / program).exists():
            return folder / program
    found = shutil.which(program)
    return None if found is None else Path(found)


def _version(folder: Path) -> float:
    """15 for /usr/lib/postgresql/15/bin, 9.6 for .../9.6/bin."""
    return float(folder.parent.name)


def _is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it holds neither locks nor shared memory."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
