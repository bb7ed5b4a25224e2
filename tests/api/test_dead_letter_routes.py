"""The dead-letter list over HTTP and on the command line, without a worker."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest
from flask.testing import FlaskClient
from processes import ROOT
from test_requests import problem

from echo_api import create_app
from echo_api.farm import Farm
from echo_tasks import connections
from echo_tasks.messages import DeadLetter, JobError, JobSpec
from echo_tasks.settings import load


@pytest.fixture
def own_broker(broker_url: str) -> str:
    """A database of the test's own, empty."""
    own = broker_url.removesuffix("/0") + "/5"
    with connections.impatient(own) as broker:
        broker.flushdb()
    return own


@pytest.fixture
def client(own_broker: str, store_url: str) -> FlaskClient:
    settings = load({"BROKER_URL": own_broker, "CACHE_URL": store_url, "ENABLE_CACHING": "false"})
    return create_app(settings).test_client()


def given_up(client: FlaskClient) -> str:
    """A job on the list; its id."""
    farm: Farm = client.application.extensions["farm"]
    spec = JobSpec(job_id=uuid.uuid4().hex, session_id=uuid.uuid4().hex, input_text="Poison.", priority=3)
    farm.ledger.create(spec)
    letter = DeadLetter(spec=spec, reason="it kills", step="memory", deliveries=3, node="w@test", at=1.0)
    assert farm.ledger.fail(spec, JobError(reason="it kills"), letter=letter)
    return spec.job_id


def test_letters_are_listed_in_pages_and_read(client: FlaskClient) -> None:
    """The latest first, with how many there are; each says what failed where, and where to go on."""
    jobs = [given_up(client) for _ in range(3)]
    page = client.get("/api/dead-letters?offset=1&limit=1").json
    assert (page["total"], [letter["job_id"] for letter in page["letters"]]) == (3, [jobs[1]])
    letter = client.get(f"/api/dead-letters/{jobs[0]}").json
    assert letter == client.get("/api/dead-letters").json["letters"][2]
    assert (letter["step"], letter["deliveries"], letter["node"], letter["reason"]) == (
        "memory",
        3,
        "w@test",
        "it kills",
    )
    assert (letter["request"]["input_text"], letter["request"]["priority"]) == ("Poison.", 3)
    assert client.get(letter["links"]["job"]).json["status"] == "failed"


def test_a_letter_is_replayed(client: FlaskClient) -> None:
    """202 with the new job's place, which says whose it is; then there is no letter."""
    job_id = given_up(client)
    answer = client.post(f"/api/dead-letters/{job_id}/replay")
    assert (answer.status_code, answer.json["replay_of"]) == (202, job_id)
    job = client.get(answer.headers["Location"]).json
    assert (job["status"], job["replay_of"], job["priority"]) == ("queued", job_id, 3)
    problem(client.post(f"/api/dead-letters/{job_id}/replay"), 404)


def test_a_letter_is_discarded(client: FlaskClient) -> None:
    """204, then 404, as for a job that never was there; the failed job stays."""
    job_id = given_up(client)
    assert client.delete(f"/api/dead-letters/{job_id}").status_code == 204
    for call in (client.get, client.delete):
        problem(call(f"/api/dead-letters/{job_id}"), 404)
    assert client.get(f"/api/jobs/{job_id}").json["status"] == "failed"


def test_a_page_that_cannot_be_is_named(client: FlaskClient) -> None:
    """422 for a bad offset or limit."""
    problem(client.get("/api/dead-letters?limit=0"), 422)


def test_a_job_may_have_a_time(client: FlaskClient) -> None:
    """`timeout_s` from 1 to 86,400 on both routes; 422 for another."""
    for seconds, status in ((1, 202), (86400, 202), (0, 422), (86401, 422), (1.5, 422)):
        assert client.post("/api/jobs", json={"input_text": "Hi.", "timeout_s": seconds}).status_code == status
    options = {"input_text": "Hi.", "processing_options": {"timeout_s": 0}}
    problem(client.post("/api/cognitive/process", json=options), 422)


def test_the_command_line_does_the_same(client: FlaskClient, own_broker: str) -> None:
    """list, show, replay, discard; what is not there ends it with one line."""
    kept, gone = given_up(client), given_up(client)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "echo_tasks.dead_letters", *words]
        return subprocess.run(command, cwd=ROOT, env={"BROKER_URL": own_broker}, capture_output=True, text=True)

    listed = run("list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [gone, kept]
    assert '"input_text": "Poison."' in run("show", kept).stdout
    assert run("discard", gone).returncode == 0
    new = run("replay", kept).stdout.strip()
    assert client.get(f"/api/jobs/{new}").json["replay_of"] == kept
    missing = run("show", kept)
    assert (missing.returncode, missing.stderr) == (1, f"echo: no dead letter of job {kept}\n")
