"""What there is to be seen, of two readings: pure functions, which draw nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from echo_tasks import keys
from echo_tasks.counts import ENDS
from echo_tasks.messages import ScalingEvent, ScalingState, WorkerRecord
from monitoring.terminal.exposition import Samples
from monitoring.terminal.reading import Reading

TIERS = ("L1", "L2", "L3")
SERVERS = ("broker", "store")

WORKER_QUEUES = "workers' own"
"""What the queues of workers alone are called together."""

LATE_S = 4.0
"""A worker whose heartbeat is older has missed one."""

STALLED_S = 20.0
"""From when on a worker that takes nothing though there is something is not well: its watchdog acts then, too."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Messages that wait, over all priorities; how long the oldest has; messages that are held by workers."""

    name: str
    waiting: float | None
    oldest_s: float | None
    in_flight: float | None


@dataclass(frozen=True, slots=True)
class Count:
    """What happened so often, and at what rate of late; None for what is not known."""

    name: str
    total: float | None
    per_s: float | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share of lookups that found something, of late and ever; None where nothing was looked up, or known."""

    name: str
    late: float | None
    ever: float | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker by its latest word; `seen_s` is that word's age."""

    node: str
    state: str
    busy: int
    slots: int
    tokens_per_s: float
    cpu: float
    memory_bytes: int
    seen_s: float

    @property
    def is_well(self) -> bool:
        return self.state == "serves"


@dataclass(frozen=True, slots=True)
class Server:
    """The broker's or the store's memory; a limit of None is none. `is_up` is None where nobody knows."""

    name: str
    is_up: bool | None
    memory_bytes: float | None
    limit_bytes: float | None
    clients: float | None


@dataclass(frozen=True, slots=True)
class View:
    """All that is drawn. `workers` is None without a broker, `open_jobs` and `dead_letters` without an exporter."""

    queues: list[Queue] = field(default_factory=list)
    jobs: list[Count] = field(default_factory=list)
    open_jobs: float | None = None
    dead_letters: float | None = None
    workers: list[Worker] | None = None
    ratios: list[Ratio] = field(default_factory=list)
    scaling: ScalingState | None = None
    events: list[ScalingEvent] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def view(before: Reading, now: Reading) -> View:
    """What two readings show; the first one may be the second one, and then there are no rates."""
    exporter = now.exporter or Samples()
    return View(
        queues=_queues(exporter),
        jobs=_jobs(before, now),
        open_jobs=exporter.value("echo_jobs_open"),
        dead_letters=exporter.value("echo_dead_letters"),
        workers=[_worker(record, now.farm.now) for record in now.farm.workers] if now.farm else None,
        ratios=_ratios(before, now),
        scaling=now.farm.scaling if now.farm else None,
        events=list(now.farm.events) if now.farm else [],
        servers=[_server(name, exporter) for name in SERVERS],
        faults=[f"{who}: {why}" for who, why in now.faults.items()],
    )


def _queues(exporter: Samples) -> list[Queue]:
    """The queues of the steps in their order, those of workers alone as one if there is anything in it, any others."""
    waiting = exporter.by("queue_name", "celery_queue_length")
    oldest = exporter.by("queue_name", "echo_queue_oldest_message_age_seconds")
    in_flight = exporter.by("queue_name", "echo_queue_in_flight")
    names = {keys.queue(step): step for step in keys.STEPS}
    if waiting.get(keys.DIRECT) or in_flight.get(keys.DIRECT):
        names[keys.DIRECT] = WORKER_QUEUES
    names |= {name: name for name in waiting if name not in names and name != keys.DIRECT}
    return [Queue(shown, waiting.get(name), oldest.get(name), in_flight.get(name)) for name, shown in names.items()]


def _jobs(before: Reading, now: Reading) -> list[Count]:
    def count(shown: str, name: str, **labels: str) -> Count:
        then, since = (reading.exporter or Samples() for reading in (before, now))
        total = since.value(name, **labels)
        return Count(shown, total, rate(then.value(name, **labels), total, now.at - before.at))

    ended = [count(status, "echo_jobs_ended", status=status) for status in ENDS]
    return [count("accepted", "echo_jobs_accepted"), *ended]


def rate(before: float | None, now: float | None, seconds: float) -> float | None:
    """A counter's growth a second; one that has become smaller has begun anew. None where either is not known."""
    if before is None or now is None or seconds <= 0:
        return None
    return (now - before if now >= before else now) / seconds


def _ratios(before: Reading, now: Reading) -> list[Ratio]:
    api = (before.api or Samples(), now.api or Samples())
    states = (before.workers, now.workers)

    def ratio(shown: str, of: tuple[Samples, Samples], hits: str, lookups: str, tier: str = "") -> Ratio:
        labels = {"level": tier} if tier else {}
        past, since = ([samples.value(name, **labels) for name in (hits, lookups)] for samples in of)
        return Ratio(shown, _share_of_late(past, since), _share(*since))

    return [
        ratio("answers", api, "cache_total_hits", "cache_total_requests"),
        *(ratio(tier, api, "cache_level_hits", "cache_level_requests", tier) for tier in TIERS),
        Ratio("states", _share_of_late(*map(_state_lookups, states)), _share(*_state_lookups(now.workers))),
    ]


def _state_lookups(workers: Samples) -> list[float | None]:
    """Lookups of states that found one, and all; as long as none has, only misses are told of."""
    lookups = workers.by("result", "echo_state_lookups")
    return [lookups.get("hit", 0.0), sum(lookups.values())] if lookups else [None, None]


def _share_of_late(past: list[float | None], since: list[float | None]) -> float | None:
    """The share among the lookups since; None where the readings are of different processes."""
    grown = [now - then for then, now in zip(past, since, strict=True) if then is not None and now is not None]
    return _share(*grown) if len(grown) == len(since) and min(grown) >= 0 else None


def _share(hits: float | None, lookups: float | None) -> float | None:
    return hits / lookups if hits is not None and lookups else None


def _worker(record: WorkerRecord, now: float) -> Worker:
    seen_s = max(0.0, now - record.seen_at)
    return Worker(
        record.node,
        _state(record, seen_s),
        record.busy,
        record.slots,
        record.tokens_per_s,
        record.cpu,
        record.memory_bytes,
        seen_s,
    )


def _state(record: WorkerRecord, seen_s: float) -> str:
    if record.stalled_s >= STALLED_S:
        return f"stalled {record.stalled_s:.0f} s"
    if seen_s >= LATE_S:
        return "silent"
    return "draining" if record.draining else "serves"


def _server(name: str, exporter: Samples) -> Server:
    def of(what: str) -> float | None:
        return exporter.value(f"echo_server_{what}", server=name)

    is_up = of("up")
    return Server(
        name, None if is_up is None else is_up > 0, of("memory_bytes"), of("memory_limit_bytes") or None, of("clients")
    )
