"""Controllers as processes: one leads, another takes over, what each tells of itself, and a broker that goes away."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import PYTHON, Running, Site, asked, free_port, until

from echo_tasks import connections, keys
from echo_tasks.scaling import Scaling

pytestmark = pytest.mark.farm

TAKEN_OVER_S = 10
NO_KEY_MS = -2
"""What the broker answers when it is asked how long a key has left that is not there."""


@dataclass
class Controlling:
    """A controller's process, and what it answers."""

    running: Running
    port: int

    def get(self, path: str) -> tuple[int, bytes]:
        return asked(f"http://127.0.0.1:{self.port}{path}", timeout=5)

    def health(self) -> dict[str, Any]:
        status, body = self.get("/health")
        return {"http": status} | (json.loads(body) if body else {})

    def leads(self) -> bool:
        return bool(self.health().get("leads"))


@contextmanager
def controller(site: Site, name: str) -> Iterator[Controlling]:
    port = free_port()
    with site.run(name, PYTHON, "-m", "autoscale", env={"CONTROLLER_PORT": str(port)}) as running:
        controlling = Controlling(running, port)
        until(lambda: controlling.get("/metrics")[0] == 200 or running.process.poll() is not None, f"{name} answers")
        assert running.process.poll() is None, running.text()
        yield controlling


@contextmanager
def leadership(site: Site) -> Iterator[redis.Redis]:
    """The broker, in which the leader's name is, for as long as it leads."""
    with redis.Redis.from_url(site.broker_url, decode_responses=True) as broker:
        yield broker


@pytest.fixture
def own(tmp_path: Path) -> Site:
    return Site(tmp_path, {"SCALE_ACTUATOR": "none"})


def test_another_takes_over_from_a_killed_leader_within_ten_seconds(own: Site) -> None:
    """One of two leads; after its SIGKILL the other does, and no state of the dead one is left.

    The dead one's leadership ends by itself within these seconds, and one that is told to end leaves it at once.
    """
    with own.server("broker"), controller(own, "first") as first, leadership(own) as broker:
        until(first.leads, "the first one leads")
        with controller(own, "second") as second:
            until(lambda: second.health()["http"] == 200, "the second one stands by")
            assert not second.leads()
            until(lambda: second.health()["state"] == first.health()["state"], "both tell the same, between two rounds")
            first.running.stop(signal.SIGKILL)
            assert broker.pttl(keys.CONTROLLER) in {NO_KEY_MS, *range(1000 * TAKEN_OVER_S)}
            until(second.leads, "the second one leads")
            assert str(second.running.process.pid) in second.health()["state"]["controller"]
            with controller(own, "first") as again:
                until(lambda: again.health()["http"] == 200, "the first one is back")
                assert not again.leads()
                assert f":{second.running.process.pid}/" in broker.get(keys.CONTROLLER)
                second.running.stop()
                assert f":{second.running.process.pid}/" not in (broker.get(keys.CONTROLLER) or "")
                until(again.leads, "it leads again")


def test_a_broker_that_goes_away_is_told_of_once_and_waited_for(own: Site) -> None:
    """Not well meanwhile, and honest about it; then it goes on by itself."""
    with controller(own, "alone") as alone:
        until(lambda: alone.health()["http"] == 503, "no broker yet")
        with own.server("broker"):
            until(lambda: alone.health()["http"] == 200, "the broker is there")
            until(alone.leads, "it leads")
        until(lambda: alone.health()["http"] == 503, "the broker is away")
        assert alone.health()["status"] == "unhealthy"
        with own.server("broker"):
            until(alone.leads, "it leads again")
            assert alone.running.text().count("controller waits for the broker") == 2
        assert "Traceback" not in alone.running.text()


def test_metrics_tell_what_it_sees(own: Site) -> None:
    """The gauges of the moment, and the decisions by their reasons."""
    with own.server("broker"), controller(own, "alone") as alone:
        until(lambda: 'echo_scaling_instances{state="desired"} 1.0' in alone.get("/metrics")[1].decode(), "one wanted")
        metrics = alone.get("/metrics")[1].decode()
        assert 'echo_scaling_decisions_total{reason="below_min"} 1.0' in metrics
        assert "echo_scaling_leads 1.0" in metrics
        assert 'echo_scaling_instances{state="serving"} 0.0' in metrics
        assert alone.get("/other")[0] == 404
        broker = connections.impatient(own.broker_url)
        reasons = [one.event.reason for one in Scaling(broker).events(10)]
        broker.close()
        assert reasons == ["below_min", "insufficient_data"]


def test_bad_settings_are_named_in_a_line_each(own: Site) -> None:
    """As every process of the farm does, with status 78."""
    wrong = {"MIN_INSTANCES": "11", "SCALE_DOWN_THRESHOLD": "0.9", "SCALE_ACTUATOR": "fleet"}
    with own.run("bad", PYTHON, "-m", "autoscale", env=wrong) as bad:
        assert until(lambda: bad.process.poll(), "it ends") == 78
        lines = bad.text().splitlines()
        assert len(lines) == len(wrong)
        assert all(any(name in line for line in lines) for name in wrong)


def test_a_taken_port_is_named(own: Site) -> None:
    """One line, and status 78."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with own.run("late", PYTHON, "-m", "autoscale", env={"CONTROLLER_PORT": port}) as late:
            assert until(lambda: late.process.poll(), "it ends") == 78
            assert f"CONTROLLER_PORT={port}: Address already in use" in late.text()
