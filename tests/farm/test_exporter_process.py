"""The exporter as a process: with and without a broker, through its restart, and with a real worker to hear."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
import redis
from exporting import exporter
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


def test_a_worker_is_heard_found_and_forgotten(farm: Site) -> None:
    """By its full name, as a target with its own metrics; and no more when it has gone."""
    with exporter(farm) as exporting:
        until(lambda: exporting.by("celery_worker_up", "hostname").get("worker@test"), "the worker is heard")
        with farm.worker(name="second"):
            until(lambda: exporting.by("celery_worker_up", "hostname").get("second@test"), "the second one is heard")
            nodes = {group["labels"]["node"] for group in exporting.targets()}
            assert nodes == {"worker@test", "second@test"}
            assert exporting.by("celery_active_worker_count", "queue_name")["echo.memory"] == 2
            assert set(exporting.by("echo_worker_slots", "node")) == nodes
        until(lambda: "second@test" not in exporting.by("celery_worker_up", "hostname"), "it has said goodbye")
        assert {group["labels"]["node"] for group in exporting.targets()} == {"worker@test"}
        assert set(exporting.by("echo_worker_slots", "node")) == {"worker@test"}


def test_a_step_that_ends_while_its_worker_stops_is_heard_of(tmp_path: Path, talkative: Path) -> None:
    """In the grace after a SIGTERM: its message is acknowledged and its end told, as if nothing were.

    So it is with the next step, if the worker was already asking for that when the signal came.
    """
    own = Site(tmp_path, {"ECHO_MODEL": str(talkative), "ENABLE_CACHING": "false", "ECHO_GRACE_S": "60"})
    body = {"input_text": "Hello.", "membranes": ["memory"], "options": {"max_tokens": 500, "temperature": 0}}
    with own.server("broker"), own.server("store"), own.http(), exporter(own) as exporting:
        with redis.Redis.from_url(own.broker_url, decode_responses=True) as broker, own.worker() as worker:
            job_id = own.post("/api/jobs", body).json["job_id"]
            until(lambda: broker.hexists(keys.job(job_id), "lease:memory"), "it runs")
            assert worker.stop(signal.SIGTERM) == 0
            assert broker.hexists(keys.job(job_id), "output:memory")
            assert not broker.exists(holding.HELD)
            ended = {"echo.memory"} | ({"echo.integration"} if broker.hget(keys.job(job_id), "result") else set())

        def heard() -> bool:
            told = exporting.by("celery_task_succeeded_total", "name")
            return {name: count for name, count in told.items() if count} == dict.fromkeys(ended, 1)

        until(heard, "each end is heard, once", 5)


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
