"""Everything at once, over RabbitMQ: `make demo`.

A broker, a worker for each of the three profiles, a run, its monitor in this terminal, and the
dashboard in the browser. One Ctrl-C ends all. The run stays in the ledger: `sms-pipeline runs`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from scripts.broker import StartError, broker, usual_port
from sms_pipeline.core.simulation import DEFAULT_SENDERS
from tests.services.processes import GuardedProcess
from tests.services.waiting import wait_until

PIPELINE = str(Path(sys.executable).parent / "sms-pipeline")
#: In the current folder.
LOGS, LEDGER = Path(".demo"), Path("sms_pipeline.db")
#: About forty seconds of work.
MESSAGES = "20000"
DASHBOARD_PORT = 8080
START_SECONDS = 60.0
#: Longer than a worker's drain.
STOP_SECONDS = 15.0
#: Variables that would lead elsewhere.
OURS = ("CELERY_", "SMS_", "FLOWER_")


def main() -> None:
    """Start all, watch, and end all."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    messages = sys.argv[1] if len(sys.argv) > 1 else MESSAGES
    LOGS.mkdir(exist_ok=True)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        variables = environment(stack.enter_context(broker()))
        parts = {name: _start(name, command, variables) for name, command in commands().items()}
        stack.callback(_end, list(parts.values()))
        _await(parts)
        _show(f"http://127.0.0.1:{_port(parts['dashboard'])}")
        subprocess.run([PIPELINE, "produce", "-n", messages], env=variables, check=True)
        _watch(variables)
    print(f"All is ended. What became of it: {shown(PIPELINE)} runs")


def environment(url: str) -> dict[str, str]:
    """With this broker and a ledger here, whatever is set around it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**plain, "CELERY_BROKER_URL": url, "SMS_DATABASE_URL": f"sqlite:///{LEDGER.absolute()}"}


def commands() -> dict[str, list[str]]:
    """What is started, by the name of its log."""
    worker = [sys.executable, "-m", "celery", "-A", "sms_pipeline", "worker", "--profile"]
    workers = {one.name: [*worker, one.name, "--loglevel", "INFO"] for one in DEFAULT_SENDERS}
    port = str(usual_port(DASHBOARD_PORT))
    return {**workers, "dashboard": [PIPELINE, "dashboard", "--port", port]}


def shown(path: str) -> str:
    """A path as one would type it here."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path


def can_open_browser(variables: Mapping[str, str], platform: str) -> bool:
    """Whether there is a screen: in a plain terminal a text browser would take it over."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return platform == "darwin" or any(variables.get(name) for name in screens)


def _start(name: str, command: list[str], variables: Mapping[str, str]) -> GuardedProcess:
    log = LOGS / f"{name}.log"
    log.write_text("")
    unbuffered = {**variables, "PYTHONUNBUFFERED": "1"}
    return GuardedProcess(command, cwd=Path.cwd(), environment=unbuffered, log=log)


def _await(parts: Mapping[str, GuardedProcess]) -> None:
    print(f"Starting workers {', '.join(list(parts)[:-1])} and the dashboard …", flush=True)
    for name, part in parts.items():
        wait_until(lambda name=name, part=part: _is_ready(name, part), START_SECONDS, name)  # type: ignore[misc]


def _is_ready(name: str, part: GuardedProcess) -> bool:
    if not part.running:
        raise StartError(f"{name} ended by itself; its log, {part.log}:\n{part.log_tail()}")
    return any(word in part.log.read_text(errors="replace") for word in (" ready.", "http://"))


def _port(dashboard: GuardedProcess) -> str:
    return dashboard.log.read_text().partition("http://127.0.0.1:")[2].split()[0]


def _show(url: str) -> None:
    print(f"The dashboard: {url}", flush=True)
    if can_open_browser(os.environ, sys.platform):
        webbrowser.open(url)


def _watch(variables: Mapping[str, str]) -> None:
    """The monitor has this terminal, and gets its Ctrl-C, too."""
    monitor = subprocess.Popen([PIPELINE, "monitor"], env=variables)
    try:
        monitor.wait()
        print("The run is done; everything else goes on. Ctrl-C ends all.", flush=True)
        print(f"Another run: export CELERY_BROKER_URL={variables['CELERY_BROKER_URL']}", flush=True)
        print(f"             {shown(PIPELINE)} produce", flush=True)
        while True:
            time.sleep(STOP_SECONDS)
    finally:
        monitor.wait()


def _end(parts: list[GuardedProcess]) -> None:
    """All at once: each may take a while."""
    for part in parts:
        if part.running:
            part.signal(signal.SIGTERM)
    for part in parts:
        part.end(signal.SIGTERM, STOP_SECONDS)


if __name__ == "__main__":
    try:
        main()
    except (StartError, AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(f"Error: {error}")
