"""Having more or fewer workers by hand, and telling how many there are, for whoever sits at this machine."""

from __future__ import annotations

import sys
import time

from echo_tasks import connections
from echo_tasks.errors import BrokerUnavailable, ControllerAway, ScalingRefused
from echo_tasks.messages import ScalingState
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling
from echo_tasks.settings import Settings

TIMEOUT_S = 180


def to(settings: Settings, number: str) -> int:
    """Ask the controller for so many workers, and wait until they serve and no others do; the exit status."""
    least, most = settings.min_instances, settings.max_instances
    if not number.isdecimal() or not least <= int(number) <= most:
        print(f"scale {number}: not a whole number from MIN_INSTANCES={least} to MAX_INSTANCES={most}", file=sys.stderr)
        return 2
    with connections.impatient(settings.broker) as client:
        scaling = Scaling(client)
        try:
            scaling.ask_for(int(number))
            return _wait(scaling, int(number))
        except BrokerUnavailable:
            print("The farm does not run: its broker does not answer.", file=sys.stderr)
        except (ControllerAway, ScalingRefused) as error:
            print(f"scale {number}: {error}", file=sys.stderr)
    return 1


def in_words(settings: Settings) -> list[tuple[str, str]]:
    """The workers as the leading controller sees them, if one leads, and what they have chosen; with headings."""
    with connections.impatient(settings.broker) as client:
        try:
            state, workers = Scaling(client).state(), Registry(client).live()
        except BrokerUnavailable:
            return []
    choices = dict.fromkeys(choice for worker in workers for choice in worker.choices)
    return [*([("instances", _told(state))] if state else []), *(("chosen", choice) for choice in choices)]


def _wait(scaling: Scaling, count: int) -> int:
    deadline, shown = time.monotonic() + TIMEOUT_S, ""
    while time.monotonic() < deadline:
        state = scaling.state()
        if state and (now := _told(state)) != shown:
            print(now, flush=True)
            shown = now
        if state and (state.serving, state.starting, state.draining) == (count, 0, 0):
            return 0
        time.sleep(0.3)
    print(f"Not within {TIMEOUT_S} s: {count} that serve, and no others.", file=sys.stderr)
    return 1


def _told(state: ScalingState) -> str:
    others = [f"{count} {what}" for what in ("starting", "draining") if (count := getattr(state, what))]
    bound = f"; {state.bound}" if state.bound else ""
    fault = f"; {state.actuator} failed: {state.fault}" if state.fault else ""
    return f"{', '.join([f'{state.serving} serving', *others])}; {state.desired} wanted ({state.reason}){bound}{fault}"
