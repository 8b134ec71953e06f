"""What a run needs: its ledger and its queues."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.celery import app
from sms_pipeline.config import places
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.producer import Publish
from sms_pipeline.producer.seed import draw_seed
from sms_pipeline.views.output import say
from sms_pipeline.worker.startup import use_queues


class Parts(NamedTuple):
    """A run, its ledger and its publisher."""

    settings: Settings
    ledger: Ledger
    publisher: Publisher
    run: Run

    @property
    def publish(self) -> Publish:
        """How a producer publishes."""
        return partial(self.publisher.publish, app)


def start_run(settings: Settings, simulation: Simulation) -> Parts:
    """Register a new run; its seed is the configured one, or drawn now.

    Raises:
        PipelineError: the broker or the ledger can't be reached.
    """
    publisher = _open_queues(settings, simulation)
    ledger = Ledger.open(settings.database_url)
    seed = draw_seed() if simulation.seed is None else simulation.seed
    run = ledger.start_run(simulation, seed, settings.embedded)
    return Parts(settings, ledger, publisher, run)


def parts_of(settings: Settings, ledger: Ledger, run: Run) -> Parts:
    """The parts of a run that was started earlier.

    Raises:
        BrokerUnavailableError: the broker can't be reached.
    """
    return Parts(settings, ledger, _open_queues(settings, run.simulation), run)


def _open_queues(settings: Settings, simulation: Simulation) -> Publisher:
    if told := places.doubt(settings):
        say(f"Warning: {told}")
    profiles = [profile.name for profile in simulation.senders]
    use_queues(app, profiles, settings.queue_type)
    return Publisher.open(settings, profiles)
