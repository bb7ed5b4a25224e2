"""The workers as instances of a service, under the original document's names: who they are, and having one drain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from echo_api import needs, problems
from echo_api.farm import farm
from echo_api.problems import RequestProblem
from echo_api.views import utc
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import SERVICE, serves

api = APIBlueprint(
    "services", __name__, url_prefix="/api/services", abp_tags=[Tag(name="services")], abp_security=needs.ADMIN
)

_UNAVAILABLE: ResponseDict = {"503": problems.documented("the broker does not answer")}

Status = Literal["healthy", "unhealthy", "draining"]


class ServicePath(BaseModel):
    """The service that a path names."""

    name: str


class InstancePath(ServicePath):
    """The instance that a path names."""

    id: str


class Instance(BaseModel):
    """A worker; times are ISO 8601, UTC, by the broker's clock."""

    id: str = Field(description="the worker's node")
    name: str
    host: str
    capabilities: list[str] = Field(description="the queues that it consumes")
    status: Status
    last_health_check: datetime = Field(description="when it last told of itself")
    response_time_ms: float | None = Field(description="of a step, of late; null before the first")
    active_connections: int = Field(description="steps that it holds, begun or not")
    total_requests: int = Field(description="steps that it has answered")
    error_count: int = Field(description="of those, the ones whose answer is an error")
    cpu_usage: float = Field(description="share of one core; 1.0 is one core busy")
    memory_usage: float = Field(description="resident, MB")
    load_score: float = Field(description="share of its slots that is taken, from 0 to 1")
    slots: int
    busy: int
    waiting: int
    tokens_per_s: float
    started_at: datetime
    stalled_s: float
    draining: bool
    pid: int
    model_id: str
    model_name: str
    version: str
    metrics_address: str


class Service(BaseModel):
    """The instances of a service, and how many of them are healthy."""

    instances: list[Instance]
    healthy_count: int
    total_count: int


class Scaling(BaseModel):
    """How many workers there are to be, and why not more."""

    desired: int
    least: int
    most: int = Field(description="by what is allowed and what the machines carry")
    reason: str = Field(description="the latest decision's")
    bound: str = Field(description="the tightest bound of their number, in numbers")


class Services(BaseModel):
    """All services by name, and by what the farm sends steps to workers and follows its load."""

    services: dict[str, Service]
    load_balancing_strategy: str
    auto_scaling_enabled: bool
    scaling: Scaling | None = Field(description="what the leading controller says; null without one")


class ServiceInstances(Service):
    """A service's instances; the mean of their load scores is null when there is none."""

    service_name: str
    avg_load_score: float | None


class Draining(BaseModel):
    """An instance that has been asked to drain."""

    instance_id: str
    status: Literal["draining"]
    timestamp: datetime


@api.get("", responses={"200": Services, **_UNAVAILABLE})
def listed() -> Any:
    """List the services with their instances."""
    settings, state = farm().settings, farm().scaling.state()
    return Services(
        services={SERVICE: _service(farm().registry.live())},
        load_balancing_strategy=settings.lb_strategy,
        auto_scaling_enabled=settings.auto_scaling_enabled,
        scaling=Scaling(**state.model_dump(include={*Scaling.model_fields})) if state else None,
    ).model_dump(mode="json")


@api.get(
    "/<name>/instances",
    responses={"200": ServiceInstances, "404": problems.documented("no such service"), **_UNAVAILABLE},
)
def instances(path: ServicePath) -> Any:
    """List the instances of a service."""
    _check(path.name)
    service = _service(farm().registry.live())
    scores = [instance.load_score for instance in service.instances]
    mean = round(sum(scores) / len(scores), 4) if scores else None
    return ServiceInstances(service_name=path.name, avg_load_score=mean, **dict(service)).model_dump(mode="json")


@api.delete(
    "/<name>/instances/<id>",
    responses={"200": Draining, "404": problems.documented("no such service, or instance of it"), **_UNAVAILABLE},
)
def drain(path: InstancePath) -> Any:
    """Have an instance drain.

    It takes no new work, finishes what it holds however long that takes, and ends with status 0.
    """
    _check(path.name)
    if not farm().registry.drain(path.id):
        raise RequestProblem(404, f"no instance {path.id!r} of service {path.name!r}")
    return Draining(instance_id=path.id, status="draining", timestamp=datetime.now(UTC)).model_dump(mode="json")


def _check(name: str) -> None:
    if name != SERVICE:
        raise RequestProblem(404, f"no service {name!r}; there is: {SERVICE}")


def _service(workers: list[WorkerRecord]) -> Service:
    found = [_instance(worker) for worker in workers]
    healthy = sum(instance.status == "healthy" for instance in found)
    return Service(instances=found, healthy_count=healthy, total_count=len(found))


def _instance(worker: WorkerRecord) -> Instance:
    held = worker.busy + worker.waiting
    return Instance(
        id=worker.node,
        name=SERVICE,
        capabilities=worker.queues,
        status=_status(worker),
        last_health_check=utc(worker.seen_at),
        response_time_ms=round(1000 * worker.mean_service_s, 1) if worker.answered else None,
        active_connections=held,
        total_requests=worker.answered,
        error_count=worker.failed,
        cpu_usage=worker.cpu,
        memory_usage=round(worker.memory_bytes / 1e6, 1),
        load_score=round(min(1.0, held / worker.slots), 4) if worker.slots else 1.0,
        **worker.model_dump(include=_AS_THEY_ARE) | {"started_at": utc(worker.started_at)},
    )


_AS_THEY_ARE = {*Instance.model_fields} & {*WorkerRecord.model_fields}


def _status(worker: WorkerRecord) -> Status:
    if worker.draining:
        return "draining"
    return "healthy" if serves(worker) else "unhealthy"
