"""What the farm tells of itself: metrics, logs, traces."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from echo_tasks.settings.kinds import Port, TraceEndpoint


class Observing(BaseModel):
    """Metrics, logs, traces."""

    exporter_address: str = Field(
        "127.0.0.1", min_length=1, description="address that the exporter binds, for metrics, health and targets"
    )
    exporter_port: Port = Field(9808, description="its port")
    prometheus_port: Port = Field(9090, description="port of the Prometheus that `monitor` runs, on loopback")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level logged")
    log_format: Literal["console", "json"] = Field("console", description="form of a log line")
    log_text: bool = Field(
        False,
        description="write what jobs ask and what they are answered into logs and traces, which else never hold it",
    )
    otel_exporter_otlp_endpoint: TraceEndpoint | None = Field(
        None, description="OTLP/HTTP endpoint that takes traces, such as http://jaeger:4318; unset: there are none"
    )
    otel_service_name: str | None = Field(
        None, min_length=1, description="name of the service in traces; unset: echo-api and echo-worker"
    )
    otel_traces_sampler_arg: float = Field(
        0.1, ge=0, le=1, description="share of the requests that are traced, beside those whose caller traces them"
    )
