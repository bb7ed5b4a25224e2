"""The Docker Engine, by Docker's own SDK, and what its faults mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

from docker import APIClient
from echo_tasks.errors import ActuatorError

TIMEOUT_S = 10.0


class DockerEngine:
    """A Docker Engine that is connected to when it is first needed, in the newest version of the API that it speaks."""

    def __init__(self, address: str | None, certificates: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """`certificates` is a folder with ca.pem, cert.pem and key.pem, as Docker's DOCKER_CERT_PATH."""
        environment = {"DOCKER_HOST": address} if address else {"DOCKER_HOST": ""}
        if certificates is not None:
            environment |= {"DOCKER_CERT_PATH": str(certificates), "DOCKER_TLS_VERIFY": "1"}
        self._environment = environment
        self._timeout_s = timeout_s
        self._client: APIClient | None = None

    @contextmanager
    def asked_to(self, what: str) -> Iterator[APIClient]:
        """The client, whose faults are told as not having been able to do this. Raises ActuatorError."""
        try:
            if self._client is None:
                self._client = APIClient(
                    version="auto", timeout=self._timeout_s, **kwargs_from_env(environment=self._environment)
                )
            yield self._client
        except (DockerException, RequestException) as error:
            raise ActuatorError(f"Docker Engine: cannot {what}: {reason(error)}") from error

    def close(self) -> None:
        """Close its connections; the next use opens others."""
        if self._client is not None:
            self._client.close()
            self._client = None


def reason(error: Exception) -> Any:
    """What the engine said, or why it could not be asked."""
    if isinstance(error, APIError) and error.response is not None:
        return f"{error.response.status_code} {error.explanation or error.response.reason}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
