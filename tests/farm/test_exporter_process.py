"""The exporter as a process: with and without a broker, through its restart, and with a real worker to hear."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from pathlib import Path

import pytest
import redis
from exporting import Exporting, exporter
from processes import PYTHON, Site, until

from echo_tasks import holding, keys

pytestmark = pytest.mark.farm


def test_a_broker_that_comes_and_goes(tmp_path: Path) -> None:
    """Not well meanwhile, and honest about it; every scrape is answered; then it goes on by itself."""
    own = Site(tmp_path)
    with exporter(own) as exporting:
        for _ in range(2):
            until(lambda: exporting.health() == 503, "no broker")
            assert exporting.by("echo_server_up", "server") == {}
            assert exporting.samples("echo_server_up") != []
            assert exporting.samples("echo_exporter_connected") == [({}, 0)]
            assert exporting.get("/targets")[0] == 503
            with own.server("broker"):
                until(lambda: exporting.health() == 200, "the broker is there, and heard")
                assert exporting.by("echo_server_up", "server") == {"broker": 1}  # there is no store
                assert exporting.samples("echo_exporter_connected") == [({}, 1)]
                assert exporting.samples("echo_jobs_open") == [({}, 0)]
                assert exporting.targets() == []
        assert exporting.samples("echo_exporter_reconnects_total") == [({}, 1)]
        until(lambda: exporting.samples("echo_exporter_connected") == [({}, 0)], "it says that it hears nothing")
        log = exporting.running.text()
        assert log.count("events are not heard") == 3  # before the broker came, and each time that it went
        assert "Traceback" not in log
        assert exporting.get("/nothing")[0] == 404
        assert exporting.running.stop(signal.SIGTERM) == 0


STEP = {"membranes": ["memory"], "options": {"max_tokens": 60, "temperature": 0}, "cache": False}
"""With six of these at once, the shared worker's four slots are not enough."""


def of_second(broker: redis.Redis, job_id: str, step: str) -> bool:
    """Whether the second worker was the last one that took a job's step."""
    return broker.hget(keys.job(job_id), f"node:{step}") == "second@test"


def heard_of_second(exporting: Exporting) -> dict[str, float]:
    """How many ends of steps of the second worker were heard, by task."""
    by_task = exporting.by("celery_task_succeeded_total", "hostname", "name")
    return {name: count for (hostname, name), count in by_task.items() if hostname == "second@test"}


def test_a_worker_is_heard_found_and_forgotten(farm: Site, broker: redis.Redis) -> None:
    """By its full name, as a target with its own metrics; and no more when it has gone.

    What it ran when it was told to stop is heard of, too: the message is acknowledged and the end told, as if nothing
    were. So it is with the next step, if the worker was already asking for that when the signal came.
    """
    with exporter(farm) as exporting:
        until(lambda: exporting.by("celery_worker_up", "hostname").get("worker@test"), "the worker is heard")
        with farm.worker("-I", "tests.farm.unhurried", name="second", env={"ECHO_GRACE_S": "60"}) as second:
            until(lambda: exporting.by("celery_worker_up", "hostname").get("second@test"), "the second one is heard")
            nodes = {group["labels"]["node"] for group in exporting.targets()}
            assert nodes == {"worker@test", "second@test"}
            assert exporting.by("celery_active_worker_count", "queue_name")["echo.memory"] == 2
            assert set(exporting.by("echo_worker_slots", "node")) == nodes
            jobs = [farm.post("/api/jobs", STEP | {"input_text": "Hello."}).json["job_id"] for _ in range(6)]
            until(lambda: any(of_second(broker, job_id, "memory") for job_id in jobs), "it runs one")
            assert second.stop(signal.SIGTERM) == 0
        assert {farm.ended(job_id)["attempts"] for job_id in jobs} == {1}
        ran = [step for job_id in jobs for step in ("memory", "integration") if of_second(broker, job_id, step)]
        until(lambda: heard_of_second(exporting) == Counter(map(keys.task, ran)), "each end is heard, once")
        until(lambda: not broker.exists(holding.HELD), "every message is acknowledged")
        until(lambda: "second@test" not in exporting.by("celery_worker_up", "hostname"), "it has said goodbye")
        assert {group["labels"]["node"] for group in exporting.targets()} == {"worker@test"}
        assert set(exporting.by("echo_worker_slots", "node")) == {"worker@test"}


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """One line, and status 78."""
    own = Site(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(own.env["EXPORTER_PORT"])))
        taken.listen()
        with own.run("taken", PYTHON, "-m", "monitoring.exporter") as running:
            assert until(lambda: running.process.poll(), "it ends") == 78
            (line,) = running.text().splitlines()
            assert f"EXPORTER_PORT={own.env['EXPORTER_PORT']}" in line
