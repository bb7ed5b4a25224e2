"""The API: where it listens, and how long it waits."""

from __future__ import annotations

from pydantic import BaseModel, Field

from echo_tasks.settings.kinds import Networks, Port


class Http(BaseModel):
    """Where it listens, and how long it waits."""

    api_host: str = Field("127.0.0.1", min_length=1, description="address that the API binds")
    api_port: Port = Field(8000, description="port of the API")
    trusted_proxies: Networks = Field(
        "",
        validate_default=True,
        description="networks whose word on a request's client, scheme and host counts (X-Forwarded-For, -Proto, "
        "-Host), as in 10.0.0.0/8,fd00::/8; of all others it is ignored",
    )
    service_timeout: int = Field(
        120, ge=1, le=3600, description="seconds that POST /api/cognitive/process waits for its answer"
    )
