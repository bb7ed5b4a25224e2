"""From the engine to the jobs' event streams: text is gathered for a moment, then sent for all at once."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.events import Events
from echo_tasks.messages import Lease

FLUSH_S = 0.03
"""How long text is gathered: shorter than a reader notices, longer than several of the engine's steps."""

CANCEL_POLL_S = 0.5
"""How often a running job is asked after that sends nothing, in its prefill or in line, lest it was cancelled."""

log = logs.get(__name__)


@dataclass(slots=True)
class Stream:
    """The text of one running step; `write` never blocks on the network."""

    lease: Lease
    writer: StreamWriter
    cancelled: threading.Event

    def write(self, text: str) -> None:
        """Add text to the job's events."""
        self.writer.add(self, text)


class StreamWriter:
    """Sends gathered text from a thread of its own, and cancels steps that were taken over or whose jobs have ended."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._open: dict[Lease, Stream] = {}
        self._gathered: dict[Lease, str] = defaultdict(str)
        self._lock = threading.Lock()  # guards the two tables
        self._sending = threading.Lock()  # held while events are on their way, so that they stay in order
        self._work = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, and end the thread."""
        self._stopped.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def stream(self, lease: Lease, cancelled: threading.Event) -> Iterator[Stream]:
        """A stream for a step; on the way out everything written has been sent.

        `cancelled` is set if the job ends, or another worker takes the step over.
        """
        stream = Stream(lease, self, cancelled)
        with self._lock:
            self._open[lease] = stream
        try:
            yield stream
        finally:
            self._send()
            with self._lock:
                del self._open[lease]

    def add(self, stream: Stream, text: str) -> None:
        """Gather text; what a step says meanwhile becomes one event."""
        with self._lock:
            self._gathered[stream.lease] += text
        self._work.set()

    def _run(self) -> None:
        asked_at = 0.0
        while not self._stopped.is_set():
            if self._work.wait(CANCEL_POLL_S):
                self._stopped.wait(FLUSH_S)
            self._work.clear()
            ask = time.monotonic() - asked_at >= CANCEL_POLL_S
            if ask:
                asked_at = time.monotonic()
            try:
                self._send(ask=ask)
            except Exception:  # the outermost loop of the thread
                log.exception("events dropped")

    def _send(self, *, ask: bool = False) -> None:
        """Send what has been gathered, and `ask` after the open steps that have nothing to send.

        A broker that is away costs these events, never the answer.
        """
        with self._sending:
            with self._lock:
                gathered, self._gathered = self._gathered, defaultdict(str)
                if ask:
                    gathered |= {lease: "" for lease in self._open if lease not in gathered}
            try:
                over = self._events.append(gathered)
            except BrokerUnavailable as error:
                log.warning("events dropped", steps=len(gathered), error=str(error))
                return
        self._cancel(over)

    def _cancel(self, leases: set[Lease]) -> None:
        with self._lock:
            for lease in leases:
                if stream := self._open.get(lease):
                    stream.cancelled.set()
