"""What the machine takes its time for, beside the senders. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sms_pipeline.forecast.agenda import Agenda


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds. Those of CPU are taken one after the other by all that share a process."""

    #: From the start of a run until its producer and its workers are ready.
    start: float = 0.07
    #: A producer reads the counters and records a group of batches.
    turn: float = 0.006
    #: CPU of making a message …
    make_message: float = 0.5e-6
    #: … and of publishing a batch …
    publish_batch: float = 0.0015
    #: … whose confirm comes so long after.
    publish: float = 0.004
    #: CPU of a worker for each message of an attempt …
    play_message: float = 0.5e-6
    #: … and for each attempt at a batch.
    play_batch: float = 0.0025
    #: From the broker to the senders.
    deliver: float = 0.005
    #: From the end of a batch's last message until its settlement is committed.
    settle: float = 0.03
    #: CPU of handing a remainder on …
    retry_batch: float = 0.0025
    #: … and how much later than its pause it is ready for a worker.
    retry: float = 0.02

    def times(self, messages: float, batches: float) -> Costs:
        """Where a message stands for so many messages, and a batch for so many batches."""
        return replace(
            self,
            make_message=self.make_message * messages,
            play_message=self.play_message * messages,
            publish_batch=self.publish_batch * batches,
            play_batch=self.play_batch * batches,
            retry_batch=self.retry_batch * batches,
        )

    def shared_by(self, workers: int) -> Costs:
        """Where so many workers do at once what one does here."""
        return replace(
            self,
            play_message=self.play_message / workers,
            play_batch=self.play_batch / workers,
            retry_batch=self.retry_batch / workers,
        )

    def busier(self, factor: float) -> Costs:
        """Where all that takes CPU takes `factor` times as long."""
        taken = self.times(factor, factor)
        return replace(taken, turn=self.turn * factor)


#: Measured on two shared cores with a broker beside them: benchmarks/forecast.py.
COSTS = Costs()
#: A machine that takes no time.
NO_COSTS = Costs(**dict.fromkeys(Costs.__slots__, 0.0))


class Processor:
    """The CPU of one process: its threads take turns."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._free_at = 0.0
        #: For how long it has worked, or is going to, seconds.
        self.busy = 0.0

    def take(self, seconds: float) -> float:
        """Work for so long as soon as it is free; return when that is done."""
        self.busy += seconds
        self._free_at = max(self._free_at, self._agenda.monotonic()) + seconds
        return self._free_at
