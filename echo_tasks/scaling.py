"""What controllers and those who ask them for workers say to one another, through the broker.

The leading controller tells what it sees and wants, and leaves what it decided in a bounded stream. Anybody may ask for
more or fewer workers: the number is noted, and the leader sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.errors import ControllerAway, ScalingRefused
from echo_tasks.messages import ScalingEvent, ScalingState
from echo_tasks.scripts import script

STATE_S = 5
"""How long the leader's word about itself holds: the time until a dead one is known to be away."""

ASKED_S = 120
"""After so long a request that could not be met lapses."""

EVENTS_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event, and its place in the stream."""

    event_id: str
    event: ScalingEvent


class Scaling:
    """The scaling of one broker's farm. Every method blocks for one round trip and raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._ask = script(client, "ask")
        self._forget = script(client, "forget")

    def ask_for_more(self, by: int) -> int:
        """Have so many more workers than are wanted, or fewer; how many that makes.

        Raises ControllerAway and ScalingRefused.
        """
        return self._asked("by", by)

    def ask_for(self, count: int) -> int:
        """Have so many workers. Raises ControllerAway and ScalingRefused."""
        return self._asked("to", count)

    def settle(self, count: int) -> None:
        """What was asked for is done, unless something else has been asked for since."""
        with broker_faults():
            self._forget(keys=[keys.SCALING_ASKED], args=[count])

    def state(self) -> ScalingState | None:
        """What the leading controller says; None when there is none."""
        with broker_faults():
            told = self._redis.get(keys.SCALING_STATE)
        return ScalingState.model_validate_json(told) if told else None

    def tell(self, state: ScalingState) -> None:
        """Say what this controller, which leads, sees and wants; it holds for STATE_S seconds."""
        with broker_faults():
            self._redis.set(keys.SCALING_STATE, state.model_dump_json(), ex=STATE_S)

    def withdraw(self) -> None:
        """Nobody leads any more."""
        with broker_faults():
            self._redis.delete(keys.SCALING_STATE)

    def record(self, event: ScalingEvent) -> None:
        """Leave an event in the stream."""
        with broker_faults():
            self._redis.xadd(keys.SCALING_EVENTS, {"data": event.model_dump_json()}, maxlen=EVENTS_KEPT)

    def events(self, limit: int, before: str = "") -> list[Recorded]:
        """The latest events, the latest first; those before one if its id is given."""
        with broker_faults():
            found = self._redis.xrevrange(keys.SCALING_EVENTS, max=f"({before}" if before else "+", count=limit)
        return [Recorded(event_id, ScalingEvent.model_validate_json(fields["data"])) for event_id, fields in found]

    def _asked(self, how: str, number: int) -> int:
        with broker_faults():
            verdict, *numbers = self._ask(keys=[keys.SCALING_STATE, keys.SCALING_ASKED], args=[how, number, ASKED_S])
        match verdict:
            case "asked":
                return int(numbers[0])
            case "away":
                raise ControllerAway
            case "nobody":
                raise ScalingRefused("nothing starts or drains workers here: SCALE_ACTUATOR is none", is_bound=False)
        why = f" ({numbers[1]})" if numbers[1:] and numbers[1] else ""
        raise ScalingRefused(f"there are to be at {verdict} {numbers[0]} workers{why}", is_bound=True)
