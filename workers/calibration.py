"""How many threads a worker has where no setting says so: measured once for a model on a processor, and kept."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from echo_tasks import cgroups, logs
from workers.batch import Batch, Segment
from workers.choosing import Choice
from workers.rwkv7 import RWKV7

ROWS = 8
"""Of the step that is measured: a small batch, as most of a worker's are."""

BUDGET_S = 0.8
"""For all measurements together."""

LEAST_STEPS = 3

WORTH = 0.7
"""Each thread of a worker is to do at least this share of what one does alone: else several workers do more."""

log = logs.get(__name__)


def threads(model: RWKV7, kept: Path, model_id: str) -> Choice:
    """How many threads the model is to run on, of those that it can have; it runs on them from now on."""
    counts = [count for count in (1 << power for power in range(16)) if count < model.threads] + [model.threads]
    key = f"{model_id} {model.dtype} {model.threads} {_processor()}"
    step_s = _read(kept).get(key) or {}
    if set(step_s) != set(counts):
        step_s = measured(model, counts)
        _keep(kept, key, step_s)
    count = chosen(step_s)
    model.run_on(count)
    model.threads = count
    told = ", ".join(f"{1000 * step_s[count]:.2f} ms on {count}" for count in counts)
    return Choice("ECHO_THREADS", str(count), f"a step of {ROWS} takes {told}")


def chosen(step_s: Mapping[int, float]) -> int:
    """The most threads of which each does its share of what one does alone."""
    return max(count for count, seconds in step_s.items() if step_s[1] / seconds >= WORTH * count)


def measured(model: RWKV7, counts: Sequence[int]) -> dict[int, float]:
    """Seconds of a step by its threads: the least of several, by turns, since other programs may have the cores."""
    rows = min(ROWS, model.slots.count)
    slots = [model.slots.take() for _ in range(rows)]
    batch = Batch(tuple(Segment(slot, (1,)) for slot in slots))
    least = dict.fromkeys(counts, float("inf"))
    began, steps = time.perf_counter(), 0
    while steps < LEAST_STEPS or time.perf_counter() - began < BUDGET_S:
        for count in counts:
            model.run_on(count)
            started = time.perf_counter()
            model.forward(batch)
            least[count] = min(least[count], time.perf_counter() - started)
        steps += 1
    for slot in slots:
        model.slots.give_back(slot)
    return least


def _processor() -> str:
    """The processor's name, and nothing of where it is."""
    lines = cgroups.read(Path("/proc/cpuinfo")).splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _read(kept: Path) -> dict[str, dict[int, float]]:
    """What was measured before; nothing of what cannot be read."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        found = json.loads(kept.read_text())
        return {key: {int(count): float(seconds) for count, seconds in one.items()} for key, one in found.items()}
    return {}


def _keep(kept: Path, key: str, step_s: Mapping[int, float]) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(".new")
        new.write_text(json.dumps(_read(kept) | {key: step_s}))
        new.replace(kept)
    except OSError as error:
        log.warning("the measured threads cannot be kept", error=str(error))
