"""The Kubernetes API over HTTP, with the credentials of the service account, and what its faults mean to us.

By urllib3 alone: four requests need no generated client of tens of megabytes, as the official one is.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from echo_tasks.errors import ActuatorError

TIMEOUT = urllib3.Timeout(connect=3, read=10)

MERGE = "application/merge-patch+json"


class Refused(ActuatorError):
    """The API has answered, with another status than success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class KubernetesApi:
    """Requests to one API server. Every method raises ActuatorError, and Refused where the server did answer."""

    def __init__(self, server: str, credentials: Path, timeout: urllib3.Timeout = TIMEOUT) -> None:
        """`credentials` is a folder with the files token, ca.crt and namespace, as pods have it."""
        self._server = server.rstrip("/")
        self._credentials = credentials
        self._timeout = timeout
        self._pool: urllib3.PoolManager | None = None

    @property
    def namespace(self) -> str:
        """That of the service account."""
        return self._read("namespace")

    def get(self, what: str, path: str, **query: str) -> Any:
        """What is at the path; `what` tells in errors what was wanted."""
        return self._ask(what, "GET", f"{path}?{urlencode(query)}" if query else path)

    def patch(self, what: str, path: str, change: dict[str, Any]) -> Any:
        """What is at the path after this change has been merged into it (RFC 7386)."""
        return self._ask(what, "PATCH", path, change)

    def close(self) -> None:
        """Close its connections; the next request opens others."""
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def _ask(self, what: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        # The token is read each time: the kubelet puts another there before this one expires.
        headers = {"Authorization": f"Bearer {self._read('token')}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = MERGE
        try:
            reply = self._connected().request(method, self._server + path, headers=headers, json=body, retries=False)
            answer = reply.json() if reply.data else {}
        except (HTTPError, OSError) as error:
            self.close()  # the next request reads the authority's certificate anew, too
            raise ActuatorError(f"Kubernetes: cannot {what}: {error}") from error
        except ValueError as error:
            raise ActuatorError(f"Kubernetes: cannot {what}: the answer is not JSON") from error
        if reply.status >= HTTPStatus.BAD_REQUEST:
            told = answer.get("message") or reply.reason if isinstance(answer, dict) else reply.reason
            raise Refused(f"Kubernetes: cannot {what}: {reply.status} {told}{_advice(reply.status)}", reply.status)
        return answer

    def _connected(self) -> urllib3.PoolManager:
        if self._pool is None:
            authority = self._credentials / "ca.crt"
            ca = str(authority) if authority.is_file() else None
            self._pool = urllib3.PoolManager(ca_certs=ca, timeout=self._timeout)
        return self._pool

    def _read(self, name: str) -> str:
        try:
            return (self._credentials / name).read_text().strip()
        except OSError as error:
            raise ActuatorError(f"Kubernetes: no {name} of a service account: {error}") from error


def _advice(status: int) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return ": the token of the service account is not taken"
        case HTTPStatus.FORBIDDEN:
            return ": give the service account a Role with that verb on that resource"
    return ""
