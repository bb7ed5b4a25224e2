"""Scaling over HTTP: one worker more or fewer by hand, and what the controllers decided."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import AfterValidator, BaseModel, Field

from echo_api import needs, problems, requests, views
from echo_api.farm import farm
from echo_api.problems import RequestProblem
from echo_tasks.messages import ScalingEvent
from echo_tasks.registry import SERVICE
from echo_tasks.scaling import Recorded

api = APIBlueprint(
    "scaling",
    __name__,
    url_prefix="/api/scaling",
    abp_tags=[Tag(name="scaling")],
    abp_security=needs.ADMIN,
    abp_responses={"404": problems.documented("no such service")},
)

_REFUSED: ResponseDict = {
    "400": problems.documented("there are as many, or as few, workers as may be"),
    "409": problems.documented("nothing starts or drains workers here: SCALE_ACTUATOR is none"),
    "503": problems.documented("no controller is there to take it up, or the broker does not answer; `Retry-After`"),
}


def _event_id(text: str) -> str:
    if text and not requests.is_event_id(text):
        raise ValueError("must be the id of an event")
    return text


class ServicePath(BaseModel):
    """The service that a path names."""

    name: str


class Page(BaseModel):
    """Which events are wanted: so many, the latest, or those before one."""

    limit: int = Field(100, ge=1, le=1000)
    before: Annotated[str, AfterValidator(_event_id)] = Field(
        "", pattern=r"^([0-9]{1,20}-[0-9]{1,20})?$", description="an event's id"
    )


class Initiated(BaseModel):
    """A request that was noted; `desired` is how many workers there are to be now. The controller sees to it."""

    service_name: str
    action: Literal["scale_up", "scale_down"]
    timestamp: datetime
    status: Literal["initiated"] = "initiated"
    desired: int


class EventView(ScalingEvent):
    """A decision with its inputs and its reason, or a fault of the actuator's; `timestamp` is ISO 8601, UTC."""

    id: str
    timestamp: datetime


class EventsView(BaseModel):
    """Events, the latest first."""

    service_name: str
    events: list[EventView]


@api.post("/<string:name>/scale-up", responses={"200": Initiated, **_REFUSED})
def scale_up(path: ServicePath) -> Any:
    """Have one worker more."""
    return _initiated(path.name, "scale_up", +1)


@api.post("/<string:name>/scale-down", responses={"200": Initiated, **_REFUSED})
def scale_down(path: ServicePath) -> Any:
    """Have one worker fewer.

    One with the least to do takes no more work, finishes what it has, and goes.
    """
    return _initiated(path.name, "scale_down", -1)


@api.get("/<string:name>/events", responses={"200": EventsView, **problems.INVALID})
def events(path: ServicePath, query: Page) -> Any:
    """List what the controllers decided, and why."""
    _check(path.name)
    found = [_view(one) for one in farm().scaling.events(query.limit, query.before)]
    return EventsView(service_name=path.name, events=found).model_dump(mode="json")


def _initiated(name: str, action: Literal["scale_up", "scale_down"], by: int) -> Any:
    _check(name)
    desired = farm().scaling.ask_for_more(by)
    view = Initiated(service_name=name, action=action, timestamp=datetime.now(UTC), desired=desired)
    return view.model_dump(mode="json")


def _check(name: str) -> None:
    if name != SERVICE:
        raise RequestProblem(404, f"no service {name!r}; there is {SERVICE!r}")


def _view(recorded: Recorded) -> EventView:
    event = recorded.event
    return EventView(id=recorded.event_id, timestamp=views.utc(event.at), **event.model_dump())
