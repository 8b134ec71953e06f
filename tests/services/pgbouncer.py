"""A private PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.postgres import PASSABLE, SERVICE_USER, PostgresNode
from tests.services.processes import GuardedProcess, free_port
from tests.services.waiting import wait_until

PROGRAM = "pgbouncer"
#: Debian has it where only root looks.
FOLDERS = f"{os.environ.get('PATH', '')}:/usr/sbin"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

#: With two sessions for all clients of a database, a client's next transaction is soon in another.
FEW_SESSIONS = 2

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {pool_mode}
default_pool_size = {sessions}
max_client_conn = 200
{further}
"""


class PgBouncer:
    """A pooler that by default gives each transaction whatever session is free."""

    def __init__(
        self,
        server: PostgresNode,
        folder: Path,
        pool_mode: str = "transaction",
        sessions: int = FEW_SESSIONS,
        further: str = "",
    ) -> None:
        """Choose a port; nothing is started yet.

        Args:
            server: What it stands in front of.
            folder: Of the user postgres, or passable: it does not run as root.
            pool_mode: What a client keeps its session for: `session`, `transaction`.
            sessions: How many all clients of a database share.
            further: Lines of its configuration.
        """
        self.port = free_port()
        self._configuration = folder / "pgbouncer.ini"
        self._configuration.write_text(
            CONFIGURATION.format(
                server_port=server.port,
                port=self.port,
                pool_mode=pool_mode,
                sessions=sessions,
                further=further,
            )
        )
        self._log = folder / "pgbouncer.log"
        self._process: GuardedProcess | None = None

    @staticmethod
    def available() -> str | None:
        """None if one can be started here, else the reason why not."""
        if shutil.which(PROGRAM, path=FOLDERS):
            return None
        return "PgBouncer is not installed; make services installs it"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = GuardedProcess(
            [shutil.which(PROGRAM, path=FOLDERS) or PROGRAM, self._configuration],
            cwd=Path("/"),
            environment={},
            log=self._log,
            user=SERVICE_USER if os.geteuid() == 0 else None,
        )
        wait_until(self._listens, START_SECONDS, "PgBouncer listens")

    def stop(self) -> None:
        """End it; clients are disconnected."""
        if self._process:
            self._process.end(signal.SIGINT, STOP_SECONDS)

    def _listens(self) -> bool:
        assert self._process and self._process.running, self._log.read_text()
        return f"listening on 127.0.0.1:{self.port}" in self._log.read_text()


@contextmanager
def running(server: PostgresNode, **options: Any) -> Iterator[PgBouncer]:
    """A pooler in front of a server, gone after the block; `options` as of `PgBouncer`."""
    with tempfile.TemporaryDirectory(prefix="sms-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(PASSABLE)
        pooler = PgBouncer(server, Path(folder), **options)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.stop()
