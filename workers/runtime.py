"""The boot step that makes a Celery worker a worker of the farm: it loads the model and attaches the tasks."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import redis
from celery import bootsteps, signals
from celery.worker import state
from celery.worker.autoscale import WorkerComponent
from celery.worker.components import Pool

from cache.assembly import MIB, Assembly
from cache.collector import CacheCollector
from cache.memory import MemoryTier
from echo_tasks import __version__, connections, guard, logs, router, settings, tasks, tracing
from echo_tasks.answers import Answers
from echo_tasks.backlog import BacklogBounds
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import EX_TEMPFAIL, CheckpointError, NoRoom, SettingsError, exit_misconfigured
from echo_tasks.events import Events
from echo_tasks.leases import StepLedger
from echo_tasks.ledger import Ledger
from echo_tasks.memories import Memories
from echo_tasks.publishing import Publisher, direct_queue
from echo_tasks.reaper import Reaper
from echo_tasks.registry import Registry
from echo_tasks.router import Router
from echo_tasks.sessions import SessionBounds
from echo_tasks.settings import MOST_SLOTS
from echo_tasks.telemetry.engine import ENGINE_SLOTS
from echo_tasks.telemetry.worker import MODEL_INFO
from workers import autoscaler, keeping, model
from workers.draining import Draining
from workers.endpoint import Endpoint
from workers.engine import Engine
from workers.heartbeat import Heartbeat
from workers.leases import Leases
from workers.outcomes import Told
from workers.pool import TaskPool
from workers.reaping import Reaping
from workers.refusals import Refusals
from workers.steps import Steps
from workers.streams import StreamWriter
from workers.vitals import Pace, Vitals

EX_SOFTWARE = 70

LEAST_SLOTS = 8
"""That a worker without a load has, of those that it may have: it prefetches no more than it has."""

ANSWERS_BYTES = 8 * MIB
"""Of a worker's own memory for answers: the API looks most of them up."""

log = logs.get(__name__)


class Runtime(bootsteps.StartStopStep):  # type: ignore[misc]
    """Loads the model while the worker is made, so that a bad one ends the process before it takes a task.

    The engine outlives the pool: in a warm shutdown the pool's threads still wait for their answers, so it
    is ended by the signal that Celery sends when every boot step has stopped, or when the grace time is over:
    then the steps that wait for it put their messages back.
    """

    requires = (Pool,)  # it knows how many slots there may be

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        if not issubclass(worker.pool_cls, TaskPool):
            exit_misconfigured(
                SettingsError(
                    [f"pool {worker.pool_cls.__module__}: a worker is one process with a pool of its own; leave -P out"]
                )
            )
        self._settings = settings.current()
        self._check_schema()
        try:
            self._endpoint = Endpoint(self._settings)
            self._model = model.load(self._settings, None if worker.chooses_slots else _slots(worker))
        except (CheckpointError, SettingsError) as error:
            exit_misconfigured(error)
        except NoRoom as error:
            print(f"echo: {error}", file=sys.stderr)
            raise SystemExit(EX_TEMPFAIL) from error
        _have_slots(worker, self._model.rwkv.slots.count)
        _consume_own_queue(worker)

    def _check_schema(self) -> None:
        """Now, or as soon as the broker is there: a worker waits for it."""
        client = connections.impatient(self._settings.broker)
        if not guard.check(client):
            guard.watch(client, _end_worker)

    def start(self, worker: Any) -> None:
        loaded = self._model
        autoscaler.fetch_for_slots(worker)
        patient = connections.patient(self._settings.broker)
        assembly = self._assembly()
        prefixes = keeping.prefixes(loaded, self._settings, assembly)
        engine = Engine(
            loaded.rwkv,
            loaded.tokenizer,
            max_prompt_tokens=self._settings.echo_max_prompt_tokens,
            on_death=_end_worker,
            prefixes=prefixes,
            tuned=loaded.tuned,
        )
        worker.token_s = lambda: engine.token_s
        writer = StreamWriter(Events(patient))
        answers = self._answers(assembly) if self._settings.enable_caching else None
        ledger = self._ledger(patient)
        # Impatient: a beat that waits for the broker's return is no beat, and must not hold up a shutdown.
        impatient = connections.impatient(self._settings.broker)
        pace, refusals = Pace(), Refusals()
        vitals = Vitals(
            worker,
            loaded,
            pace,
            lambda: engine.generated,
            lambda: self._capacity(worker),
            lambda: refusals.count,
            growth_bytes=loaded.rwkv.slots.bytes + self._settings.echo_states_mb * MIB + ANSWERS_BYTES,
            metrics_address=self._endpoint.address,
        )
        heartbeat = Heartbeat(Registry(impatient, self._settings.liveness), worker.hostname, vitals, Draining(worker))
        routes = router.by_strategy(impatient, self._settings.lb_strategy, worker.hostname)
        leases = Leases(StepLedger(impatient, lease_s=self._settings.echo_lease_s))
        reaping = Reaping(self._reaper(impatient, answers, routes))
        tracing.start(self._settings, "echo-worker", worker.hostname)
        assembly.start()
        prefixes.start()
        engine.start()
        self._endpoint.start(
            cache=CacheCollector(assembly.statistics),
            is_alive=lambda: engine.is_alive,
            stalled_s=lambda: worker.consumer.watchdog.stalled_s,
        )
        writer.start()
        leases.start()
        steps = Steps(
            ledger,
            Publisher(self._settings.broker, router=routes, patience_s=30),
            engine,
            writer,
            leases,
            node=worker.hostname,
            model_id=loaded.model_id,
            memories=Memories(patient),
            count_tokens=lambda text: len(loaded.tokenizer.encode(text)),
            max_deliveries=self._settings.max_retry_attempts,
            answers=answers,
            initial_states=self._settings.states_by_step,
            reads_first_turns=self._settings.lb_strategy == "affinity",  # they come back to this worker
            served=pace.served,
            refused=refusals.note,
        )
        tasks.attach(Told(steps))
        self._announce(worker)
        gc.freeze()  # modules stay: no collection, nor the one at the process's end, has to visit a million objects
        gc.enable()

        self._obey(
            engine,
            starts=(heartbeat.start, reaping.start),
            stops=(
                heartbeat.stop,
                reaping.stop,
                self._endpoint.stop,
                engine.stop,
                prefixes.stop,
                assembly.stop,
                writer.stop,
                leases.stop,
                tracing.stop,
            ),
        )

    def _obey(
        self, engine: Engine, *, starts: Sequence[Callable[[], object]], stops: Sequence[Callable[[], object]]
    ) -> None:
        """Do what is due when the worker is ready, is told to stop, and has stopped; each in its order."""

        @signals.worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
        def ready(**_: Any) -> None:
            for start in starts:
                start()

        @signals.worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
        def shutting_down(**_: Any) -> None:
            log.info("worker stops", grace_s=self._settings.echo_grace_s)
            hand_back = threading.Timer(self._settings.echo_grace_s, engine.stop)
            hand_back.daemon = True
            hand_back.start()

        @signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
        def shut_down(**_: Any) -> None:
            for stop in stops:
                stop()

    def _ledger(self, client: redis.Redis) -> Ledger:
        return Ledger(
            client,
            retention_s=self._settings.job_retention_s,
            session_s=60 * self._settings.session_timeout_minutes,
            bounds=SessionBounds.of(self._settings),
            backlog=BacklogBounds.of(self._settings),
            lease_s=self._settings.echo_lease_s,
        )

    def _reaper(self, client: redis.Redis, answers: Answers | None, routes: Router | None) -> Reaper:
        ledger, publisher = self._ledger(client), Publisher(self._settings.broker, router=routes)
        dispatcher = Dispatcher(ledger, publisher, answers)
        return Reaper(
            client,
            ledger,
            publisher,
            dispatcher,
            max_deliveries=self._settings.max_retry_attempts,
            liveness=self._settings.liveness,
        )

    def _assembly(self) -> Assembly:
        chosen = self._settings
        return Assembly(
            policy=chosen.eviction_policy,
            store=connections.hasty(chosen.store),
            steady=connections.impatient(chosen.broker),
            folder=chosen.disk_cache,
            disk_mb=chosen.disk_cache_mb,
            sweep_every_s=chosen.cleanup_interval,
        )

    def _answers(self, assembly: Assembly) -> Answers:
        memory = MemoryTier(ANSWERS_BYTES, self._settings.eviction_policy)
        cache = assembly.cache(memory, compress=self._settings.enable_compression)
        return Answers(cache, lambda: self._model.answers_id, self._settings.cache_ttl_seconds)

    def _capacity(self, worker: Any) -> int:
        return min(autoscaler.capacity(worker), self._model.rwkv.slots.count)

    def _announce(self, worker: Any) -> None:
        shape, dtype, device = self._model.rwkv.shape, self._model.dtype, self._model.rwkv.device.type
        MODEL_INFO.labels(self._model.name, self._model.model_id, dtype, device, __version__).set(1)
        ENGINE_SLOTS.set_function(lambda: self._capacity(worker))
        log.info(
            "model loaded",
            model=self._model.name,
            model_id=self._model.model_id,
            layers=shape.layers,
            width=shape.width,
            vocabulary=shape.vocabulary,
            dtype=dtype,
        )
        for choice in self._model.choices:
            tell = log.warning if choice.is_less else log.info
            tell("chosen", setting=choice.setting, value=choice.value, reason=choice.reason)


WorkerComponent.requires = (Pool, Runtime)  # it looks whether there is to be an autoscaler, which the model decides


def _consume_own_queue(worker: Any) -> None:
    """Have the worker consume, beside the queues that it is told to, the one that is its own."""
    queue = direct_queue(worker.hostname)
    exchange = queue.exchange
    worker.app.amqp.queues.select_add(queue)
    queue.exchange = exchange  # Celery has given it the default one, at which every node would leave a binding


def _have_slots(worker: Any, most: int) -> None:
    """Have the worker run so many steps at most: moved with the load where nobody said how many."""
    if worker.chooses_slots:
        worker.autoscale = [most, min(LEAST_SLOTS, most)]
        worker.max_concurrency, worker.min_concurrency = worker.autoscale
    elif worker.autoscale:
        worker.max_concurrency = min(worker.max_concurrency, most)
        worker.min_concurrency = min(worker.min_concurrency, most)
    else:
        worker.concurrency = worker.min_concurrency = min(worker.concurrency, most)


def _slots(worker: Any) -> int:
    """As many as its pool may have tasks: the engine takes memory for them once. Raises SettingsError."""
    option, slots = ("autoscale", worker.max_concurrency) if worker.autoscale else ("concurrency", worker.concurrency)
    if not 1 <= slots <= MOST_SLOTS or worker.min_concurrency < 0:
        raise SettingsError([f"--{option}: a worker may have from 1 to {MOST_SLOTS} slots, not {slots}"])
    worker.min_concurrency = max(1, worker.min_concurrency)  # a pool without a thread would never see a load
    return int(slots)


def _end_worker(status: int = EX_SOFTWARE) -> None:
    """End the worker with a failure status from any thread: without its engine, say, it must take no more tasks."""
    state.should_stop = status
