"""Asks what runs in the container whether it is well, and exits with 0 if it is: `health.py NAME...`.

Of several names the first counts on whose port somebody listens. For HEALTHCHECK, so it imports next to nothing.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 4

ENDPOINTS = {
    "api": ("API_HOST", "API_PORT", "8000", "/livez"),
    "worker": ("WORKER_METRICS_ADDRESS", "WORKER_METRICS_PORT", "9807", "/health"),
    "controller": ("CONTROLLER_ADDRESS", "CONTROLLER_PORT", "9809", "/health"),
    "exporter": ("EXPORTER_ADDRESS", "EXPORTER_PORT", "9808", "/health"),
    "flower": ("FLOWER_ADDRESS", "FLOWER_PORT", "5555", "/healthcheck"),
}
"""By name: the variables of address and port, the port's default, the path."""

_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - asked, not bound


def ask(name: str) -> tuple[int, str]:
    """Status and body that the process answers. Raises OSError if nobody listens or answers."""
    address, port, default, path = ENDPOINTS[name]
    host = os.environ.get(address, "")
    prefix = os.environ.get("FLOWER_URL_PREFIX", "").strip("/") if name == "flower" else ""
    asked = HTTPConnection(_EVERY.get(host, host), int(os.environ.get(port, default)), timeout=TIMEOUT_S)
    try:
        asked.request("GET", f"/{prefix}{path}" if prefix else path)
        answer = asked.getresponse()
        return answer.status, answer.read(2000).decode(errors="replace")
    finally:
        asked.close()


def main(names: list[str]) -> int:
    """The exit status."""
    for name in names:
        try:
            status, body = ask(name)
        except ConnectionRefusedError:
            continue
        except (OSError, HTTPException) as error:
            print(f"{name}: {error}")
            return 1
        print(f"{name}: {status} {body}")
        return 0 if status == 200 else 1
    print(f"nobody listens: {', '.join(names)}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
