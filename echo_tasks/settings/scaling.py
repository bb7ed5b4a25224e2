"""How many workers there are, who starts them, and which of them a step goes to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from echo_tasks.settings.kinds import Port


class Scaling(BaseModel):
    """Workers as the controller and the router see them."""

    auto_scaling_enabled: bool = Field(
        True, description="have as many workers as the load needs; false: as many as were asked for, within the bounds"
    )
    scale_up_threshold: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of the workers' slots that is wanted, above which there are to be more workers",
    )
    scale_down_threshold: float = Field(
        0.3, ge=0, le=1, validate_default=True, description="share below which there are to be fewer"
    )
    min_instances: int = Field(1, ge=1, le=1000, description="workers that there are at least")
    max_instances: int = Field(
        10,
        ge=1,
        le=1000,
        validate_default=True,
        description="workers that there are at most; on one machine no more than its cores and memory carry",
    )
    health_check_interval: int = Field(
        30, ge=1, le=3600, description="seconds of load by which the number of workers is decided"
    )
    scale_actuator: Literal["processes", "docker", "kubernetes", "none"] = Field(
        "processes", description="what starts and drains workers: the crew on this machine, containers, pods, or nobody"
    )
    controller_address: str = Field(
        "127.0.0.1", min_length=1, description="address that the controller binds, for its metrics and health"
    )
    controller_port: Port = Field(9809, description="its port")
    docker_host: Annotated[str, Field(pattern=r"^(unix|tcp|https?|ssh)://.")] | None = Field(
        None, description="Docker Engine that runs the workers' containers; unset: unix:///var/run/docker.sock"
    )
    docker_cert_path: Path | None = Field(
        None, description="folder of ca.pem, cert.pem and key.pem for a Docker Engine behind TLS; unset: no TLS"
    )
    docker_mode: Literal["compose", "swarm"] = Field(
        "compose", description="whether they are of a Compose project, or of a stack on a Swarm"
    )
    docker_project: str = Field("deep-tree-echo", min_length=1, description="name of that project or stack")
    docker_service: str = Field("worker", min_length=1, description="the workers' service in it")
    kubernetes_api: str = Field(
        "https://kubernetes.default.svc",
        pattern=r"^https?://.",
        description="server of the Kubernetes API whose Deployment the workers are",
    )
    kubernetes_namespace: str | None = Field(
        None, min_length=1, description="namespace of the Deployment; unset: that of the controller's service account"
    )
    kubernetes_deployment: str = Field("cognitive-service", min_length=1, description="name of the Deployment")
    kubernetes_credentials: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="folder of token, ca.crt and namespace of the controller's service account",
    )
    lb_strategy: Literal["shared", "round_robin", "least_connections", "weighted", "affinity"] = Field(
        "shared",
        description="which worker a step goes to: whichever takes it from the shared queue, each in turn, the least "
        "busy, by CPU, memory and response time, or the one that knows the session",
    )

    @field_validator("scale_down_threshold")
    @classmethod
    def _below_the_upper(cls, share: float, info: ValidationInfo) -> float:
        """A bad other one is told of by itself."""
        upper = info.data.get("scale_up_threshold")
        if upper is not None and share >= upper:
            raise ValueError(f"it is to be below SCALE_UP_THRESHOLD, which is {upper:g}")
        return share

    @field_validator("max_instances")
    @classmethod
    def _not_below_the_least(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_instances")
        if least is not None and most < least:
            raise ValueError(f"it is below MIN_INSTANCES, which is {least}")
        return most
