"""The mean response time: of the latest minutes, and of what clients ask."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from echo_api import create_app
from echo_api.response_time import WINDOW_S, ResponseTime
from echo_tasks.settings import Settings


def test_it_is_the_mean_of_the_latest_minutes() -> None:
    """What is older counts no more, whether something came since or not; without anything there is none."""
    at = 1000.0
    response_time = ResponseTime(lambda: at)
    assert response_time.mean_s() is None
    response_time.add(1.0)
    response_time.add(3.0)
    assert response_time.mean_s() == 2.0
    at += WINDOW_S / 2
    response_time.add(8.0)
    assert response_time.mean_s() == 4.0
    at += WINDOW_S / 2 + 1
    assert response_time.mean_s() == 8.0
    at += WINDOW_S
    assert response_time.mean_s() is None
    assert [metric.samples for metric in response_time.collect()] == [[]]


@pytest.fixture
def client(broker_url: str) -> FlaskClient:
    return create_app(Settings(broker_url=broker_url.removesuffix("/0") + "/7")).test_client()


def test_probes_and_scrapes_are_no_clients(client: FlaskClient) -> None:
    """They are counted among the requests, and do not make the mean look better than it is."""
    client.get("/livez"), client.get("/metrics"), client.get("/nowhere")
    text = client.get("/metrics").text
    assert "\n# TYPE deep_echo_avg_response_time_ms gauge\n" in text
    assert "\ndeep_echo_avg_response_time_ms " not in text
    client.get("/api/services")
    (line,) = (line for line in client.get("/metrics").text.splitlines() if line.startswith("deep_echo_avg_resp"))
    assert 0 < float(line.split()[1]) < 60_000


def test_all_requests_are_the_documents(client: FlaskClient) -> None:
    """Its counter is the sum of ours."""

    def counted() -> float:
        (line,) = (line for line in client.get("/metrics").text.splitlines() if line.startswith("deep_echo_total_r"))
        return float(line.split()[1])

    before = counted()
    client.get("/livez"), client.get("/nowhere"), client.post("/api/jobs")
    assert counted() == before + 4
