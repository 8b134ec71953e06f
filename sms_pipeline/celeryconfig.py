"""Every Celery setting of sms_pipeline that is not Celery's default, and why.

The app takes this module by its full name, so that no other file can stand in for it.
"""

from sms_pipeline.broker import sockets
from sms_pipeline.config.settings import load_settings

_settings = load_settings()

#: CELERY_BROKER_URL, also from `.env`; in-process when there is none.
broker_url = _settings.broker_url

#: Completion is derived from the ledger; results would be a second, weaker truth.
task_ignore_result = True

#: A batch is acknowledged after it is settled, so that a killed worker's batches come back.
task_acks_late = True
#: A batch whose task raised is not done: it goes to the dead-letter queue, not into oblivion.
task_acks_on_failure = False
#: A mistyped queue must be an error, not a new queue that nobody reads.
task_create_missing_queues = False

#: All batches of a process share one sender bank; threads only wait for it.
worker_pool = "threads"
#: A batch in hand per thread, none waiting behind: what waits stays free for other workers.
worker_prefetch_multiplier = 1
#: After a reconnect Celery would lower the prefetch, and raise it again from pool threads on the
#: socket that the main loop reads: on classic queues the worker then hangs until its heartbeat.
worker_enable_prefetch_count_reduction = False
#: Survives bodies that stop Celery's own consumer, and dead-letters them.
worker_consumer = "sms_pipeline.worker.consumer:GuardedConsumer"
#: Flower should show what is running, without being asked to switch events on.
worker_send_task_events = True

#: A worker waits for its broker at start and in mid-run, for as long as it takes.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
#: A channel that the broker closed is opened again; by default it ends the worker.
broker_channel_error_retry = True
#: A broker that hangs is noticed after two missed beats.
broker_heartbeat = 30
#: The in-process broker polls; its default second would be the slowest part of a small run. A link
#: to any other may be down for some seconds.
broker_transport_options = (
    {"polling_interval": 0.01} if _settings.embedded else sockets.TRANSPORT_OPTIONS
)
