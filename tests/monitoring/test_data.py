"""A real Prometheus that scrapes a real farm under load: whatever a dashboard, a rule or an alert asks for is there."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import expressions
import pytest
import watched
from processes import PYTHON, Site, free_port, until
from watched import Prometheus

pytestmark = [pytest.mark.farm, watched.needed, pytest.mark.timeout(400)]

SIGNALS = {"arrival_rate": 2.0, "latency": 1.0, "hit_ratio": 0.5}
DAYS = 7


def load(site: Site, number: int) -> None:
    """Some of all that clients do: new texts and old ones, turns of a session, a deadline, a cancelled job, errors."""
    options = {"max_tokens": 24, "temperature": 0}
    session = f"watched-{number % 3}"
    said = {"input_text": f"Hello {number}.", "session_id": session, "processing_options": options}
    site.post("/api/cognitive/process", said)
    site.post("/api/jobs", {"input_text": "The same again.", "options": options, "priority": 1 + number % 10})
    hasty = {"input_text": f"Soon {number}!", "cache": False, "timeout_s": 1, "options": {"max_tokens": 4096}}
    site.post("/api/jobs", hasty)
    long = {"input_text": f"Never {number}.", "cache": False, "options": {"max_tokens": 512}}
    unwanted = site.post("/api/jobs", long)
    if unwanted.status == 202:
        site.request("DELETE", unwanted.headers["Location"])
        site.get(f"{unwanted.headers['Location']}/events")
    site.post("/api/cache/watched", {"value": number})
    for key in ("watched", "watched", "nothing"):
        site.get(f"/api/cache/{key}")
    site.get("/api/services")
    site.get("/api/jobs/nobody")


@contextmanager
def under_load(site: Site) -> Iterator[None]:
    """Two clients at work until the block ends."""
    ended, numbers = threading.Event(), itertools.count()

    def work() -> None:
        while not ended.is_set():
            load(site, next(numbers))

    clients = [threading.Thread(target=work) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        ended.set()
        for client in clients:
            client.join()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Prometheus]:
    """Prometheus, with a week behind it, beside a farm of two workers that has work to do."""
    folder = tmp_path_factory.mktemp("watched")
    env = {"ECHO_SLOTS": "4", "ECHO_MODEL": str(talkative), "SCALE_ACTUATOR": "none", "LB_STRATEGY": "round_robin"}
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"  # nobody: spans are dropped and counted
    site = Site(folder, env)
    node, own = free_port(), free_port()
    data = folder / "data"
    config = watched.configuration(
        folder,
        {
            "127.0.0.1:9090": f"127.0.0.1:{own}",
            "127.0.0.1:9100": f"127.0.0.1:{node}",
            "127.0.0.1:8000": f"127.0.0.1:{site.env['API_PORT']}",
            "127.0.0.1:9808": f"127.0.0.1:{site.env['EXPORTER_PORT']}",
            "127.0.0.1:9809": f"127.0.0.1:{site.env['CONTROLLER_PORT']}",
        },
    )
    past = {
        f'anomaly:hour:mean15m{{of="{of}",signal="{signal}"}}': usual * share
        for of, share in (("mean", 1.0), ("stddev", 0.1))
        for signal, usual in SIGNALS.items()
    }
    watched.backfill(data, past, watched.hours_before(time.time(), DAYS))
    with ExitStack() as farm:
        for running in (
            site.server("broker"),
            site.server("store"),
            site.run("exporter", PYTHON, "-m", "monitoring.exporter"),
            site.worker(name="w1"),
            site.worker(name="w2"),
            site.http(),
            site.run("controller", PYTHON, "-m", "autoscale"),
            site.run("node", "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{node}"),
            under_load(site),
        ):
            farm.enter_context(running)
        yield farm.enter_context(watched.prometheus(site, config, data, own))


@pytest.fixture(scope="module")
def settled(prometheus: Prometheus) -> Prometheus:
    """The same, once records that are made of records of records have had their time, and jobs have ended every way."""
    until(lambda: len(prometheus.query("anomaly:deviations:ratio")) == len(SIGNALS), "records of records", 120)
    until(
        lambda: len(prometheus.query("sum by (status) (echo_jobs_ended_total > 0)")) == 3, "jobs ended every way", 120
    )
    time.sleep(5)
    return prometheus


def without_data(prometheus: Prometheus, asked: list[expressions.Expression]) -> list[str]:
    return [f"{one.where}: {one.text}" for one in asked if not prometheus.has(one.text)]


def test_all_targets_are_up(settled: Prometheus) -> None:
    """Each job's processes are found, the workers by the exporter's list, and answer."""
    targets = settled.get("targets", state="active")["activeTargets"]
    assert not [f"{target['scrapeUrl']}: {target['lastError']}" for target in targets if target["health"] != "up"]
    jobs = [target["labels"]["job"] for target in targets]
    ours = ["celery-exporter", "echo-api", "echo-controller", "echo-worker", "echo-worker", "node"]
    assert sorted(set(jobs)) == sorted({*ours, "prometheus"})
    assert jobs.count("echo-worker") == 2
    nodes = {target["labels"]["node"] for target in targets if target["labels"]["job"] == "echo-worker"}
    assert nodes == {"w1@test", "w2@test"}


def test_every_panel_has_data(settled: Prometheus) -> None:
    """Each query of each panel of each dashboard, with all variables at All."""
    panels = [asked for asked in expressions.of_dashboards() if ": mark " not in asked.where]
    assert len(panels) > 100
    assert without_data(settled, panels) == []


def test_every_record_has_data(settled: Prometheus) -> None:
    """Each record's expression has, and so has its name: Prometheus has evaluated it."""
    records = expressions.of_rules("record")
    assert without_data(settled, records) == []
    assert [one.where for one in records if not settled.has(one.where)] == []


def test_every_choice_has_values(settled: Prometheus) -> None:
    """Each variable of each dashboard offers something."""
    assert without_data(settled, expressions.of_variables()) == []


def test_every_alert_and_mark_can_be_evaluated(settled: Prometheus) -> None:
    """Prometheus has evaluated every rule without an error, and answers every other question."""
    groups = settled.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(expressions.rules("alert")) + len(expressions.rules("record"))
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    for asked in expressions.of_dashboards():
        if ": mark " in asked.where:
            settled.query(asked.text)


def test_every_metric_that_is_named_is_exposed(settled: Prometheus) -> None:
    """By some target, with or without samples yet, or made by a rule."""
    families = {one["metric"] for one in settled.get("targets/metadata", limit="100000")}
    ends = ("", "_total", "_bucket", "_sum", "_count")
    exposed = {f"{family}{end}" for family in families for end in ends}
    exposed |= set(settled.get("label/__name__/values"))
    named = {name for asked in expressions.everything() for name in expressions.names(asked.text)}
    assert sorted(named - exposed - {"ALERTS"}) == []


def test_no_alert_fires_of_a_farm_that_is_well(settled: Prometheus) -> None:
    """Busy it is, and its machine; nothing else is the matter within its first minutes."""
    firing = settled.query('ALERTS{alertstate="firing"}')
    about_load = {"HighCPUUsage", "HighMemoryUsage", "DiskSpaceLow", "DiskSpaceCritical", "ErrorBudgetBurnsFast"}
    told = {one["metric"]["alertname"]: json.dumps(one["metric"]) for one in firing}
    assert {name: labels for name, labels in told.items() if name not in about_load} == {}
