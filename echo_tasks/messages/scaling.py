"""What controllers say."""

from __future__ import annotations

from pydantic import Field

from echo_tasks.messages.forms import Stored


class ScalingState(Stored):
    """What the leading controller sees and wants, at a moment of the broker's clock.

    `desired`: workers that there are to be; of these there are `serving`, and `starting` that have not said a word
    yet; `draining` are those that go. There may be `most`, by what is allowed and what the machines carry; `bound` says
    in words what keeps the farm from growing. Shares are of the slots that serve.
    """

    controller: str
    at: float
    actuator: str
    is_enabled: bool
    least: int
    most: int
    desired: int
    serving: int
    starting: int
    draining: int
    reason: str
    utilisation: float
    fault: str = Field("", description="what the actuator failed with, as long as it does")
    bound: str = Field("", description="the tightest bound of the number of workers, in numbers")


class ScalingEvent(Stored):
    """What a controller decided, with what it was made of; or a fault of its actuator's. `at` is by the broker's clock.

    `current`: workers that serve or start. `busy`, `delivered` and `ready` are steps that are run, taken and not begun,
    and waiting. `floor`: workers that the forecast asks for; 0 for none.
    """

    at: float
    controller: str
    reason: str
    current: int
    desired: int
    utilisation: float
    victims: list[str] = Field(default_factory=list, description="nodes to be drained")
    serving: int
    starting: int
    draining: int
    slots: int
    busy: int
    delivered: int
    ready: int
    oldest_s: float
    arrived: int
    floor: int = 0
    most: int = Field(0, description="workers that there may be, by the tightest bound; 0: it is not known")
    bound: str = Field("", description="that bound, in numbers")
    error: str = ""
