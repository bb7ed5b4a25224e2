"""The API's clients: whose pages may use it, and how long they may take."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from echo_tasks.settings.kinds import Origins

Patience = Annotated[float, Field(ge=1, le=3600)]


class Clients(BaseModel):
    """Whose pages may use the API, and how long its clients may take."""

    cors_origins: Origins = Field(
        "",
        validate_default=True,
        description="origins whose pages may use the API, with commas between, as in https://app.example.org; *: all",
    )
    hsts_s: int = Field(
        31_536_000, ge=0, description="seconds for which browsers that came over TLS are to come so again; 0: not told"
    )
    client_idle_s: Patience = Field(
        30, description="seconds that a client of the API may keep a connection without a request"
    )
    client_head_s: Patience = Field(10, description="seconds that it may take to send a request's head")
    client_body_s: Patience = Field(60, description="seconds that it may take to send a request's body")
    client_read_s: Patience = Field(30, description="seconds that it may take to read 64 KiB of an answer, or an event")
