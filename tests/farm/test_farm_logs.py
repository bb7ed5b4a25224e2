"""The whole farm's logs at DEBUG: lines for machines, with ids, and never what was asked or answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from otlp import Collector, collecting
from processes import PYTHON, Running, Site, until

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

TOWN = "Brimtak"
"""What is told, remembered, asked for and answered: a name that nothing else has."""

SECRET = "of-flowers-cookies"  # noqa: S105 - no password

ASKED = [f"My name is Zorla. I live in {TOWN}.", "Where do I live?", f"Correct this: she live in {TOWN}"]


def events(running: Running) -> list[dict[str, Any]]:
    """All that a process has written, line by line."""
    return [json.loads(line) for line in running.text().split("\n") if line]


@contextmanager
def farm(folder: Path, collector: Collector, *, lets_in: bool) -> Iterator[tuple[Site, dict[str, Running]]]:
    """A farm at DEBUG that traces everything; its worker and its API."""
    site = Site(
        folder,
        {
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "LOG_TEXT": str(lets_in).lower(),
            "ECHO_MAX_PROMPT_TOKENS": "512",
            "FLOWER_COOKIE_SECRET": SECRET,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER_ARG": "1",
        },
    )
    with site.server("broker"), site.server("store"), site.worker() as worker, site.http() as api:
        yield site, {"worker": worker, "api": api}


def test_texts_are_in_no_log_and_no_trace(tmp_path: Path) -> None:
    """Jobs that remember, recall, fail and are cancelled, in every process, with all levels and all traces."""
    with collecting() as collector, farm(tmp_path, collector, lets_in=False) as (site, processes):
        flower_command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "flower")
        with (
            site.run("flower", *flower_command) as flower,
            site.run("controller", PYTHON, "-m", "autoscale") as controller,
        ):
            answers = [answered(site, text) for text in ASKED]
            assert TOWN in answers[1]
            too_long = site.post("/api/jobs", {"input_text": f"{TOWN} " * 400}).json["job_id"]
            assert site.ended(too_long)["status"] == "failed"
            site.post("/api/memory/search", {"query": f"Who lives in {TOWN}?", "session_id": "me"})
            until(lambda: "Visit me" in flower.text(), "Flower is up")
            until(lambda: "run echo.integration" in {span.name for span in collector.spans}, "spans are there")
            processes |= {"flower": flower, "controller": controller}
            for running in processes.values():
                running.stop()
    told = {name: events(running) for name, running in processes.items()}
    assert all(told.values())
    assert SECRET not in flower.text()
    assert not any(TOWN.encode() in body for body in collector.bodies)
    assert not [name for name, running in processes.items() if TOWN in running.text()]
    check_ids(told["worker"], {span.trace_id for span in collector.spans})


def test_the_setting_lets_texts_into_the_workers_log_and_spans(tmp_path: Path) -> None:
    """And into no log of the API."""
    with collecting() as collector, farm(tmp_path, collector, lets_in=True) as (site, processes):
        answered(site, ASKED[0])
        for running in processes.values():
            running.stop()
    assert any(TOWN.encode() in body for body in collector.bodies)
    assert {name for name, running in processes.items() if TOWN in running.text()} == {"worker"}
    assert all(events(running) for running in processes.values())


def answered(site: Site, text: str) -> str:
    answer = site.post("/api/cognitive/process", {"input_text": text, "session_id": "me"})
    assert answer.status == 200, answer.body
    return str(answer.json["response_text"])


def check_ids(told: list[dict[str, Any]], traces: set[str]) -> None:
    """A step's events say where they belong, and so do Celery's own words about it."""
    steps = [event for event in told if event["event"] == "step answered"]
    assert {event["step"] for event in steps} == {"memory", "reasoning", "grammar", "integration"}
    for event in steps:
        assert event["session_id"] == "me"
        assert event["worker"] == "worker@test"
        assert len(event["job_id"]) == 32
        assert event["trace_id"] in traces
        assert len(event["span_id"]) == 16
    jobs = {event["job_id"] for event in steps}
    celerys = [event for event in told if event["logger"] == "celery.app.trace" and event.get("job_id") in jobs]
    assert {event["step"] for event in celerys} == {"memory", "reasoning", "grammar", "integration"}
    assert any("Warm shutdown" in event["event"] for event in told)
    assert {event["worker"] for event in told if "worker" in event} == {"worker@test"}
