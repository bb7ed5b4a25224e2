"""What real processes tell of themselves: each on its own port, found by its record, with metrics of what it did."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping

import psutil
import pytest
import redis
from processes import PYTHON, Site, until
from prometheus_client.parser import text_string_to_metric_families

from echo_tasks import keys
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import Registry

pytestmark = pytest.mark.farm

Values = Mapping[tuple[str, ...], float]


def get(address: str, path: str) -> tuple[int, str]:
    """What a worker answers; status 0 when nobody does."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def values(text: str) -> Values:
    """A process's samples by their names, those of counters with `_total`, and the values of their labels in order."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def records(client: redis.Redis) -> dict[str, WorkerRecord]:
    return {record.node: record for record in Registry(client).live()}


def test_a_worker_tells_of_the_steps_that_it_ran(farm: Site, broker: redis.Redis) -> None:
    """Their waits and durations, the model and the slots, the engine, the cache, and who reaps; nothing of the API."""
    (record,) = records(broker).values()
    before = values(get(record.metrics_address, "/metrics")[1])
    job = farm.post("/api/jobs", {"input_text": "Hello.", "options": {"max_tokens": 4}, "cache": False}).json
    farm.ended(job["job_id"])

    def told() -> Values | None:
        now = values(get(record.metrics_address, "/metrics")[1])
        name = ("echo_step_duration_seconds_count", "succeeded", keys.INTEGRATION)
        return now if now.get(name, 0) > before.get(name, 0) else None

    now = until(told, "the integration is counted")
    for step in keys.STEPS:
        for name in (("duration", "succeeded", step), ("queue_wait", step)):
            counted = (f"echo_step_{name[0]}_seconds_count", *name[1:])
            assert now[counted] - before.get(counted, 0) == 1
    assert now["echo_job_duration_seconds_count", "succeeded"] > before.get(
        ("echo_job_duration_seconds_count", "succeeded"), 0
    )
    assert now["echo_engine_slots",] == record.slots == 4
    (model,) = (labels for name, *labels in now if name == "echo_model_info")
    assert model[1] in {"bf16", "fp32"}, "whichever this processor multiplies"
    assert [model[0], *model[2:]] == ["cpu", record.model_id, record.model_name, record.version]
    assert now["echo_reaper_active",] == 1
    assert before["echo_reaper_rounds_total",] >= 0
    assert now["cache_level_requests_total", "L1"] > 0
    assert now["process_start_time_seconds",] > 0
    assert not [name for name, *_ in now if name.startswith(("echo_http_", "echo_scaling_"))]
    health = json.loads(get(record.metrics_address, "/health")[1])
    assert (health["status"], health["detail"]) == ("healthy", "")

    def reaped() -> bool:
        latest = values(get(record.metrics_address, "/metrics")[1])
        return latest["echo_reaper_rounds_total",] > now["echo_reaper_rounds_total",]

    until(reaped, "the reaper looks again")


def test_the_api_tells_of_the_requests_that_it_answered(farm: Site) -> None:
    """The document's names beside ours; a job that the cache answers is handed to nobody."""
    before = values(farm.get("/metrics").body.decode())
    question = {"input_text": "How are you?", "options": {"max_tokens": 4, "temperature": 0}}
    for _ in range(2):
        farm.ended(farm.post("/api/jobs", question).json["job_id"])
    now = values(farm.get("/metrics").body.decode())

    def grown(*name: str) -> float:
        return now[name] - before.get(name, 0)

    assert grown("deep_echo_distributed_requests_total") == grown("echo_jobs_distributed_total") == 1
    assert grown("echo_http_requests_total", "POST", "/api/jobs", "202") == 2
    assert grown("deep_echo_total_requests_total") >= 5
    assert grown("deep_echo_cache_requests_total") == 2
    assert grown("cache_total_hits_total") == 1
    assert grown("echo_job_duration_seconds_count", "succeeded") == 1
    assert 0 < now["deep_echo_avg_response_time_ms",] < 60_000
    assert not [name for name, *_ in now if name.startswith(("echo_engine_", "echo_scaling_"))]


def test_event_streams_are_counted_while_they_are_open(farm: Site) -> None:
    """One more with one more client, and none with its end."""

    def streams() -> float:
        return values(farm.get("/metrics").body.decode())["echo_event_streams",]

    until(lambda: streams() == 0, "no stream is left of other tests")
    job = {"input_text": "Go on.", "membranes": ["memory"], "options": {"max_tokens": 4096}, "cache": False}
    job_id = farm.post("/api/jobs", job).json["job_id"]
    connection = http.client.HTTPConnection(farm.api.removeprefix("http://"), timeout=30)
    connection.request("GET", f"/api/jobs/{job_id}/events")
    stream = connection.getresponse()
    stream.readline()
    until(lambda: streams() == 1, "the stream is counted")
    farm.request("DELETE", f"/api/jobs/{job_id}")
    stream.read()
    connection.close()
    until(lambda: streams() == 0, "the stream is over")


def test_each_worker_has_a_port_of_its_own_until_it_ends(farm: Site, broker: redis.Redis) -> None:
    """Two on one machine, one of them bound to every address; the records say where each is, and no wildcard."""
    with farm.worker(name="two", env={"WORKER_METRICS_ADDRESS": "0.0.0.0"}):
        found = records(broker)
        one, two = found["worker@test"].metrics_address, found["two@test"].metrics_address
        assert one.startswith("127.0.0.1:")
        assert one.partition(":")[2] != two.partition(":")[2]
        own_addresses = {it.address for them in psutil.net_if_addrs().values() for it in them}
        assert two.rpartition(":")[0] in own_addresses
        assert [get(address, "/health")[0] for address in (one, two)] == [200, 200]
        taken = {"WORKER_METRICS_PORT": one.partition(":")[2]}
        command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "worker", "-n", "late@test")
        with farm.run("late", *command, env=taken) as late:
            assert until(lambda: late.process.poll(), "it ends") == 78
        place = f"WORKER_METRICS_ADDRESS=127.0.0.1 WORKER_METRICS_PORT={taken['WORKER_METRICS_PORT']}"
        assert late.text().splitlines()[-1] == f"echo: {place}: Address already in use"
    assert get(two, "/health")[0] == 0
    assert set(records(broker)) == {"worker@test"}
    assert get(one, "/health")[0] == 200
