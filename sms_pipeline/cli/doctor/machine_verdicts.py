"""What was seen of this machine and its Celery, and the remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sms_pipeline.cli.doctor.check import Check, fault, ok, warning

FILES = "open files"
THREADS = "threads"
CORES = "cores"
CELERY = "celery settings"

#: Connections and files of a busy worker, with room to spare.
WANTED_FILES = 200
_CELERY_RELEASE = "5.7"
#: On which the promise rests that nothing is lost and nothing counted twice.
SETTINGS: Mapping[str, object] = {
    "task_always_eager": False,
    "task_acks_late": True,
    "task_acks_on_failure": False,
    "task_create_missing_queues": False,
    "worker_pool": "threads",
    "worker_prefetch_multiplier": 1,
    "worker_enable_prefetch_count_reduction": False,
    "worker_consumer": "sms_pipeline.worker.consumer:GuardedConsumer",
    "broker_channel_error_retry": True,
    "broker_connection_retry_on_startup": True,
}


def files(opened: int) -> Check:
    """Whether a process may open as many files as a busy worker needs."""
    if opened < WANTED_FILES:
        return fault(
            FILES,
            f"only {opened} more can be opened; a busy worker needs {WANTED_FILES}",
            "ulimit -n 4096 (systemd: LimitNOFILE=4096; Docker: --ulimit nofile=4096)",
        )
    return ok(FILES, f"{WANTED_FILES} more can be opened")


def threads(started: int, wanted: int) -> Check:
    """Whether a process may run as many threads as a worker needs."""
    if started < wanted:
        return fault(
            THREADS,
            f"only {started} can be started; a worker here needs {wanted}",
            "ulimit -u unlimited (systemd: TasksMax=infinity; Docker: --pids-limit -1)",
        )
    return ok(THREADS, f"{wanted} can be started, as many as a worker here needs")


def cores(number: float) -> Check:
    """How many processors there are."""
    told = f"{number:g}"
    if number < 1:
        return warning(
            CORES,
            f"{told}: heartbeats and deadlines may come late",
            "give the container at least one (Docker: --cpus 1)",
        )
    return ok(CORES, told)


def celery(found: Mapping[str, object], version: str, elsewhere: Mapping[str, str]) -> Check:
    """Whether Celery is set up as a run needs it.

    Args:
        found: the values of `SETTINGS` that are in force.
        version: of Celery.
        elsewhere: variables that lead Celery to another broker, and that broker.
    """
    if elsewhere:
        names = ", ".join(elsewhere)
        return fault(
            CELERY,
            f"{names} names another broker than CELERY_BROKER_URL: workers would not see what "
            "producers publish",
            f"unset {' '.join(elsewhere)}",
        )
    changed = [name for name, value in SETTINGS.items() if found.get(name) != value]
    if changed:
        name = changed[0]
        return fault(
            CELERY,
            f"{', '.join(changed)} changed: messages could get lost",
            f"leave it as it is in sms_pipeline/celeryconfig.py: {name} = {SETTINGS[name]!r}",
        )
    if not version.startswith(f"{_CELERY_RELEASE}."):
        return warning(
            CELERY,
            f"Celery {version} was not tried with this version of sms-pipeline",
            f"pip install 'celery~={_CELERY_RELEASE}.0'",
        )
    return ok(CELERY, f"as a run needs them, Celery {version}")
