"""Replacing the farm's processes on this machine one by one, after its code has changed: readers first, the API last.

The workers are drained, each after another one has come, where the machine has room for one more. All others are
replaced by the supervisor, which goes on itself, as its guard does: their own code is the new one after a restart.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from echo_tasks import connections
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.local import readiness, restarts, wire
from echo_tasks.local.restarts import Restarts
from echo_tasks.local.roster import WORKERS, Roster
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling
from echo_tasks.settings import Settings

TIMEOUT_S = 180
"""Of each process. A worker that is drained may run its steps for as long as they take."""

_SERVERS, _OTHERS = ("store", "broker"), ("controller", "exporter", "flower", "api")


class _NotInTime(Exception):
    """What was waited for, and did not come."""


def run(settings: Settings) -> int:
    """Replace them all, and tell of each; the exit status."""
    if not wire.ask(settings.echo_var, {"status": True}):
        print("The farm does not run, or runs since an older release: ./quick-start.sh restart")
        return 1
    keepers = _keepers(settings)
    if missing := [name for name in (*_SERVERS, *_OTHERS) if name not in keepers]:
        print(f"Nobody replaces {', '.join(missing)}: the farm does not run, or runs since an older release.")
        print("Once, this will do: ./quick-start.sh restart")
        return 1
    try:
        for name in _SERVERS:
            _replace(name, settings)
        _replace_workers(settings)
        for name in _OTHERS:
            _replace(name, settings)
    except (_NotInTime, BrokerUnavailable) as error:
        print(f"Not within {TIMEOUT_S} s: {error}. What was not replaced goes on as it was.", file=sys.stderr)
        return 1
    return 0


def _keepers(settings: Settings) -> dict[str, Restarts]:
    """The records of the keepers that live and can replace their processes, by what they keep."""
    known = {record.name.partition(".")[0]: record for record in restarts.read(settings) if record.replaced >= 0}
    return {name: record for name, record in known.items() if _lives(record.keeper_pid)}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _replace(name: str, settings: Settings) -> None:
    before = _keepers(settings)[name]
    wire.ask(settings.echo_var, {"replace": name})
    _wait(lambda: _keepers(settings)[name].replaced != before.replaced, f"{name} is replaced")
    _wait(lambda: readiness.readiness(settings)[0], f"all is ready with another {name}")
    print(f"{name:<10} is replaced", flush=True)


def _replace_workers(settings: Settings) -> None:
    """One more, then one fewer, as often as there are workers; the other way round where no more may be."""
    roster = Roster(WORKERS, settings)
    with connections.impatient(settings.broker) as client:
        registry = Registry(client)

        def nodes() -> set[str]:
            return {worker.node for worker in registry.live() if roster.has(worker.node) and not worker.draining}

        def drain(node: str) -> None:
            roster.release(node)
            registry.drain(node)
            _wait(lambda: node not in {worker.node for worker in registry.live()}, f"{node} has finished")

        for node in sorted(nodes()):
            there, wanted, state = nodes(), roster.wanted(), Scaling(client).state()
            is_room = wanted is not None and wanted.count < (state.most if state else settings.max_instances)
            if not is_room:
                drain(node)
                there.discard(node)  # the other one may have its name
            roster.change(+1)
            _wait(lambda there=there: nodes() - there, "another worker serves")  # type: ignore[misc]
            if is_room:
                drain(node)
            print(f"{node:<10} is replaced", flush=True)


def _wait(condition: Callable[[], object], what: str) -> None:
    """Raises _NotInTime. A broker that is being replaced is waited for, too."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except BrokerUnavailable:
            pass
        time.sleep(0.3)
    raise _NotInTime(what)
