"""The worker's endpoint: where it is bound, where others find it, and what it calls healthy."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from prometheus_client import CollectorRegistry, Gauge

from echo_tasks.errors import SettingsError
from echo_tasks.settings import Settings
from workers.endpoint import Endpoint, reachable

BROKER = "redis://127.0.0.1:6379/0"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint(Settings())
    yield endpoint
    endpoint.stop()


def get(endpoint: Endpoint, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{endpoint.address}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_is_bound_from_the_beginning(endpoint: Endpoint) -> None:
    """On a free port of loopback; another one has another."""
    host, _, port = endpoint.address.partition(":")
    assert host == "127.0.0.1"
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind((host, int(port)))
    second = Endpoint(Settings())
    assert second.address != endpoint.address
    second.stop()


def test_its_health_is_the_engines_and_the_consumers(endpoint: Endpoint) -> None:
    """503 without the engine's thread, and when messages lie there and none is taken; it says which."""
    is_alive, stalled_s = True, 0.0
    endpoint.start(cache=CollectorRegistry(), is_alive=lambda: is_alive, stalled_s=lambda: stalled_s)

    def health() -> tuple[int, str, str]:
        status, body = get(endpoint, "/health")
        told = json.loads(body)
        return status, told["status"], told["detail"]

    assert health() == (200, "healthy", "")
    stalled_s = 19.9
    assert health() == (200, "healthy", "")
    stalled_s = 20.0
    assert health() == (503, "unhealthy", "no message is taken, though there are some")
    is_alive = False
    assert health() == (503, "unhealthy", "the engine's thread has ended")


def test_its_metrics_are_the_process_and_the_caches(endpoint: Endpoint) -> None:
    """Both in one text."""
    cache = CollectorRegistry()
    Gauge("of_the_cache", "As it says.", registry=cache).set(3)
    endpoint.start(cache=cache, is_alive=lambda: True, stalled_s=lambda: 0)
    status, text = get(endpoint, "/metrics")
    assert status == 200
    assert "\nof_the_cache 3.0\n" in text
    assert "\nprocess_resident_memory_bytes " in text
    assert "\n# TYPE echo_engine_running_sequences gauge\n" in text


def test_what_cannot_be_bound_is_the_settings_fault(endpoint: Endpoint) -> None:
    """One line that names both."""
    port = endpoint.address.partition(":")[2]
    with pytest.raises(
        SettingsError, match=rf"ADDRESS=127\.0\.0\.1 WORKER_METRICS_PORT={port}: Address already in use"
    ):
        Endpoint(Settings(worker_metrics_port=int(port)))
    with pytest.raises(SettingsError, match=r"WORKER_METRICS_ADDRESS=192\.0\.2\.77 "):
        Endpoint(Settings(worker_metrics_address="192.0.2.77"))
    with pytest.raises(SettingsError, match=r"WORKER_METRICS_ADDRESS=no\.such\.host\.invalid "):
        Endpoint(Settings(worker_metrics_address="no.such.host.invalid"))


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "10.1.2.3", "worker-7", "localhost"])
def test_a_place_is_told_as_it_is_bound(bound: str) -> None:
    """Whoever set it knows who can reach it."""
    assert reachable(bound, BROKER) == bound


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
@pytest.mark.parametrize(
    "broker", [BROKER, "redis://no.such.host.invalid:6379/0", "rediss://198.51.100.7/0?ssl_check=1"]
)
def test_every_address_is_told_as_the_machines_own(bound: str, broker: str) -> None:
    """One of its interfaces', or its name where it has none but loopback; never the wildcard, which is nobody's."""
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    assert reachable(bound, broker) in own - {"127.0.0.1", "::1"} | {socket.gethostname()}


def test_the_way_to_the_broker_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of several networks is found in the one where the broker is; without any way it is called by name."""
    ways = {"10.0.0.5": "10.0.0.9", "192.0.2.1": "172.17.0.2"}
    monkeypatch.setattr("workers.endpoint._source", lambda family, host: ways.get(host, ""))
    assert reachable("0.0.0.0", "redis://10.0.0.5:6379/0") == "10.0.0.9"
    assert reachable("0.0.0.0", "sentinel://10.0.0.5:26379/0;sentinel://10.0.0.6:26379/0?primary=p") == "10.0.0.9"
    assert reachable("::", "redis://127.0.0.1:6379/0") == "172.17.0.2"
    ways.clear()
    assert reachable("0.0.0.0", "redis://10.0.0.5:6379/0") == socket.gethostname()


def test_an_address_of_the_sixth_version_stands_in_brackets() -> None:
    """As in a URL."""
    try:
        endpoint = Endpoint(Settings(worker_metrics_address="::1"))
    except SettingsError as error:
        pytest.skip(f"no IPv6 here: {error}")
    endpoint.start(cache=CollectorRegistry(), is_alive=lambda: True, stalled_s=lambda: 0)
    assert endpoint.address.startswith("[::1]:")
    assert get(endpoint, "/health")[0] == 200
    endpoint.stop()
