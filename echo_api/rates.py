"""Rates in headers: the IETF's draft, and what clients have looked at for longer."""

from __future__ import annotations

import math

from flask import Response, g

from echo_api.problems import RequestProblem
from echo_tasks.access.admission import WINDOW_S, Rate


def check(rate: Rate) -> None:
    """Note where the caller stands, for the answer's headers. Raises RequestProblem (429) if he asked too often."""
    g.rate = rate
    if rate.is_over:
        wait_s = math.ceil(rate.next_in_s)
        told = f"{rate.limit} requests a minute are as many as your {rate.counted_by} may make"
        raise RequestProblem(429, told, headers={"Retry-After": str(wait_s)})


def tell(response: Response) -> Response:
    """Add the headers to an answer, if its request was counted.

    `RateLimit` as in draft-ietf-httpapi-ratelimit-headers: `r` requests are left, and all are after `t` seconds.
    `X-RateLimit-Reset` is that moment in seconds since the epoch.
    """
    rate: Rate | None = g.get("rate")
    if rate is not None:
        whole_in_s = math.ceil(rate.whole_in_s)
        response.headers["RateLimit-Policy"] = f'"{rate.counted_by}";q={rate.limit};w={WINDOW_S}'
        response.headers["RateLimit"] = f'"{rate.counted_by}";r={rate.left};t={whole_in_s}'
        response.headers["X-RateLimit-Limit"] = str(rate.limit)
        response.headers["X-RateLimit-Remaining"] = str(rate.left)
        response.headers["X-RateLimit-Reset"] = str(math.ceil(rate.at + rate.whole_in_s))
    return response
