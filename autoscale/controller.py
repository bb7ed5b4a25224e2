"""The controller: a round observes, decides and acts, if this one leads; otherwise it stands by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

import redis

from autoscale import recording
from autoscale.acting import Acting
from autoscale.actuators import Actuator
from autoscale.decision import Decision, Memory, Policy, decide
from autoscale.keeping import BIN_S, MOST_BINS, Bin, Filling, Kept
from autoscale.leadership import Leadership
from autoscale.observation import Observation
from autoscale.observing import Observer, Seen
from autoscale.past import Past
from autoscale.predictor import Forecast, forecast
from autoscale.recording import Recorder
from autoscale.startups import Startups
from echo_tasks import logs, recovery
from echo_tasks.liveness import Liveness
from echo_tasks.messages import ScalingState
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling
from echo_tasks.telemetry import scaling as telemetry

ROUND_S = 1.0
"""How often a controller looks."""

OUT_OF_TOUCH_S = 3.0
"""A round that comes so late means that this process, or the broker, was away."""

UNKNOWN_STARTUP_S = 60.0
"""How far ahead a forecast looks until a start-up was measured."""

Decide = Callable[[Policy, Memory, Observation, int, int | None], tuple[Decision, Memory]]
Foresee = Callable[[Past, float], Forecast]

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a controller stands: when its latest round was over, whether it leads, and what the leader says."""

    at: float = -math.inf
    leads: bool = False
    state: ScalingState | None = None


class Controller:
    """Scales the workers of one broker, when it is its turn. For one thread; a round raises BrokerUnavailable."""

    def __init__(
        self,
        client: redis.Redis,
        policy: Policy,
        actuator: Actuator,
        *,
        name: str,
        actuator_name: str,
        decides: Decide = decide,
        foresees: Foresee = forecast,
        clock: Callable[[], float] = time.monotonic,
        liveness: Liveness | None = None,
    ) -> None:
        self._policy = policy
        self._settling_s = 2.5 * (liveness or Liveness()).renewal_s  # every worker that lives has sent a heartbeat
        self._decides = decides
        self._foresees = foresees
        self._clock = clock
        self._leadership = Leadership(client, name)
        self._observer = Observer(client, Registry(client))
        self._acting = Acting(actuator, clock)
        self._scaling = Scaling(client)
        self._recorder = Recorder(self._scaling, self._leadership.name, actuator_name, policy)
        self._kept = Kept(client)
        self._startups = Startups(client)
        self._filling = Filling()
        self._bins: Sequence[Bin] = ()
        self._memory = Memory()
        self._floor = 0
        self._startup_s: float | None = None
        self._leads = False
        self._last_at = self._in_touch_since = clock()
        self.standing = Standing()

    def round(self) -> bool:
        """Observe, decide and act, if nobody else leads; whether this one does."""
        began = self._clock()
        if began - self._last_at > OUT_OF_TOUCH_S:
            self._in_touch_since = began
        leads = self._leadership.hold()
        self._change(leads)
        state = self._lead(self._observer.look()) if leads else self._scaling.state()
        self._last_at = self._clock()
        self.standing = Standing(self._last_at, leads, state)
        return leads

    def stop(self) -> None:
        """Let another one lead at once."""
        if self._leads:
            self._scaling.withdraw()
        self._leadership.leave()

    def _change(self, leads: bool) -> None:
        """Whoever begins to lead adopts what is there, and knows nothing of what was decided before."""
        if leads and not self._leads:
            log.info("controller leads", controller=self._leadership.name)
            self._memory, self._filling, self._floor = Memory(), Filling(), 0
            self._recorder.forget()
            self._bins = self._kept.read()
            self._startup_s = self._startups.usual_s()
        if self._leads and not leads:
            log.warning("controller stands by: another one leads", controller=self._leadership.name)
        self._leads = leads
        telemetry.SCALING_LEADS.set(leads)

    def _lead(self, seen: Seen) -> ScalingState:
        now = seen.observation
        starting = self._acting.starting(now.instances)
        room = self._acting.room(now.instances, starting or 0)
        now = replace(now, starting=starting if self._is_whole(seen) else None, room=room)
        self._remember(now)
        decision = self._acting.aim(self._decision(now, seen.asked))
        if now.starting is not None:
            self._startups.asked(self._acting.pursue(decision, now, self._leadership.hold), now.at)
        return self._recorder.note(decision, now, floor=self._floor, fault=self._acting.fault)

    def _is_whole(self, seen: Seen) -> bool:
        """Whether the observation shows all there is: after an outage workers come back first, and say so."""
        return not seen.strangers and recovery.is_settled(
            self._clock(), in_touch_since=self._in_touch_since, grace_s=self._settling_s
        )

    def _decision(self, now: Observation, asked: int | None) -> Decision:
        """The policy's; what somebody asked for by hand is settled once so many serve."""
        policy = replace(self._policy, startup_s=self._startup_s or self._policy.startup_s)
        decision, self._memory = self._decides(policy, self._memory, now, self._floor, asked)
        if asked is not None and now.starting == 0 and len(now.serving) == decision.desired:
            self._scaling.settle(asked)
        return decision

    def _remember(self, now: Observation) -> None:
        """Note the load and who has come, and look ahead again whenever there is more to look back at."""
        self._startups.seen((instance.node for instance in now.instances), now.at)
        done = self._filling.add(now)
        if done is None:
            return
        self._kept.add(done)
        self._bins = [*self._bins, done][-MOST_BINS:]
        self._look_ahead(now)

    def _look_ahead(self, now: Observation) -> None:
        self._startup_s = self._startups.usual_s()
        past = Past.of(BIN_S, ((one.begins_at, one.demand) for one in self._bins))
        foreseen = self._foresees(past, self._startup_s or UNKNOWN_STARTUP_S)
        slots = [instance.slots for instance in now.serving]
        self._floor = foreseen.floor(self._policy, mean(slots)) if slots else 0
        recording.gauge_forecast(foreseen, self._floor, self._startup_s or 0.0)
