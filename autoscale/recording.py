"""Recording: what was decided, with its inputs, for people, clients and Prometheus."""

from __future__ import annotations

from autoscale import bounds
from autoscale.decision import Decision, Policy, Reason
from autoscale.observation import Observation
from autoscale.predictor import Forecast
from echo_tasks import logs
from echo_tasks.messages import ScalingEvent, ScalingState
from echo_tasks.scaling import Scaling
from echo_tasks.telemetry import scaling as telemetry

log = logs.get(__name__)

FAULT = "actuator_failed"
"""The reason of an event that is no decision."""


class Recorder:
    """Leaves an event whenever a decision or its reason changes, and a word about the moment always.

    It raises BrokerUnavailable.
    """

    def __init__(self, scaling: Scaling, controller: str, actuator: str, policy: Policy) -> None:
        self._scaling = scaling
        self._controller = controller
        self._actuator = actuator
        self._policy = policy
        self._last: tuple[str, int, tuple[str, ...]] | None = None
        self._fault = ""

    def forget(self) -> None:
        """What is decided next is news, whatever it is: somebody else has decided meanwhile, or nobody."""
        self._last, self._fault = None, ""

    def note(self, decision: Decision, seen: Observation, *, floor: int, fault: str) -> ScalingState:
        """Record a decision and how the actuator does; the state that was told."""
        news = (decision.reason.value, decision.desired, tuple(decision.victims))
        if decision.reason is Reason.BETWEEN and self._last:  # it says nothing of the farm
            news = (self._last[0], decision.desired, ())
        elif news != self._last:
            self._scaling.record(self._event(decision.reason.value, decision, seen, floor))
            telemetry.SCALING_DECISIONS.labels(decision.reason.value).inc()
            log.info("decided", reason=news[0], current=_current(seen), desired=decision.desired, victims=list(news[2]))
        if fault and fault != self._fault:
            self._scaling.record(self._event(FAULT, decision, seen, floor, error=fault))
            telemetry.SCALING_FAULTS.inc()
        self._last, self._fault = news, fault
        state = self._state(news[0], decision, seen, fault)
        self._scaling.tell(state)
        _gauge(decision, seen)
        return state

    def _event(self, reason: str, decision: Decision, seen: Observation, floor: int, error: str = "") -> ScalingEvent:
        return ScalingEvent(
            at=seen.at,
            controller=self._controller,
            reason=reason,
            current=_current(seen),
            desired=decision.desired,
            utilisation=decision.utilisation,
            victims=list(decision.victims),
            serving=len(seen.serving),
            starting=seen.starting or 0,
            draining=len(seen.instances) - len(seen.serving),
            slots=sum(instance.slots for instance in seen.serving),
            busy=sum(instance.busy for instance in seen.instances),
            delivered=seen.delivered,
            ready=seen.ready,
            oldest_s=seen.oldest_s,
            arrived=seen.arrived,
            floor=floor,
            most=decision.bound.most if decision.bound else 0,
            bound=decision.bound.told if decision.bound else "",
            error=error,
        )

    def _state(self, reason: str, decision: Decision, seen: Observation, fault: str) -> ScalingState:
        return ScalingState(
            controller=self._controller,
            at=seen.at,
            actuator=self._actuator,
            is_enabled=self._policy.is_enabled,
            least=min(self._policy.least, bounds.hard(self._policy, seen.room).most),
            most=bounds.hard(self._policy, seen.room).most,
            desired=decision.desired,
            serving=len(seen.serving),
            starting=seen.starting or 0,
            draining=len(seen.instances) - len(seen.serving),
            reason=reason,
            utilisation=decision.utilisation,
            fault=fault,
            bound=decision.bound.told if decision.bound else "",
        )


def _current(seen: Observation) -> int:
    return len(seen.serving) + (seen.starting or 0)


def _gauge(decision: Decision, seen: Observation) -> None:
    states = {
        "desired": decision.desired,
        "current": _current(seen),
        "serving": len(seen.serving),
        "starting": seen.starting or 0,
        "draining": len(seen.instances) - len(seen.serving),
    }
    for state, count in states.items():
        telemetry.SCALING_INSTANCES.labels(state).set(count)
    if decision.bound:
        telemetry.SCALING_MOST.clear()
        telemetry.SCALING_MOST.labels(decision.bound.reason.value).set(decision.bound.most)
    steps = {"busy": sum(one.busy for one in seen.instances), "delivered": seen.delivered, "ready": seen.ready}
    for state, count in steps.items():
        telemetry.SCALING_DEMAND.labels(state).set(count)
    telemetry.SCALING_UTILISATION.set(decision.utilisation)
    telemetry.SCALING_OLDEST_SECONDS.set(seen.oldest_s)


def gauge_forecast(forecast: Forecast, floor: int, startup_s: float) -> None:
    """Show what is forecast, whether it counts or not."""
    telemetry.SCALING_FORECAST.set(forecast.demand)
    telemetry.SCALING_FORECAST_SCORE.set(forecast.score)
    telemetry.SCALING_FORECAST_FLOOR.set(floor)
    telemetry.SCALING_STARTUP_SECONDS.set(startup_s)
