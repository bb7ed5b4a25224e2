"""Jobs through the whole farm: HTTP, queues, a real worker with a real model, and back."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from processes import Site, until

pytestmark = pytest.mark.farm

TINY = {"max_tokens": 2, "temperature": 0}
SLOTS = 4
"""Of the shared farm's worker."""


def submit(farm: Site, text: str = "Hello.", **fields: Any) -> str:
    """Post a job that is not answered from the cache; its id."""
    body = {"input_text": text, "cache": False, "options": TINY} | fields
    answer = farm.post("/api/jobs", body)
    assert answer.status == 202, answer.body
    return str(answer.json["job_id"])


def frames(farm: Site, job_id: str, last: str | None = None) -> Generator[dict[str, str]]:
    """The events of a job, as a client of Server-Sent Events reads them."""
    connection = http.client.HTTPConnection("127.0.0.1", int(farm.env["API_PORT"]), timeout=60)
    connection.request("GET", f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": last} if last else {})
    frame: dict[str, str] = {}
    with closing(connection), connection.getresponse() as lines:
        for line in lines:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if value and name in {"id", "event", "data"}:
                frame[name] = value
            elif not name and "data" in frame:
                yield frame
                frame = {}


def test_a_text_is_answered_by_the_model(farm: Site) -> None:
    """The synchronous route answers 200 with three outputs that the model wrote, and what they cost."""
    answer = farm.post("/api/cognitive/process", {"input_text": "What is two plus three?", "session_id": "me"})
    assert answer.status == 200, answer.body
    result = answer.json
    assert result["session_id"] == "me"
    assert result["response_text"]
    assert set(result["membrane_outputs"]) == {"memory", "reasoning", "grammar"}
    assert all(result["membrane_outputs"].values())
    assert len(set(result["membrane_outputs"].values())) == 3
    assert result["usage"]["completion_tokens"] > 4
    metadata = result["cognitive_metadata"]
    assert metadata["complexity_detected"] == "low"
    assert metadata["membranes"]["grammar"]["question"] == "what"
    assert metadata["failed_membranes"] == {}
    job = farm.get(answer.headers["Location"]).json
    assert job["result"] == result
    assert job["attempts"] == 1


def test_greedy_answers_are_reproducible(farm: Site) -> None:
    """Temperature 0, computed twice, says the same; so does a seed; another seed does not."""
    body = {"input_text": "Tell me a story.", "processing_options": {"max_tokens": 8, "cache": False, "temperature": 0}}
    answers = [farm.post("/api/cognitive/process", body).json for _ in range(2)]
    assert answers[0]["response_text"] == answers[1]["response_text"]
    assert not any(answer["cache_hit"] for answer in answers)
    seeded = [
        farm.post(
            "/api/cognitive/process",
            {"input_text": "Tell me.", "processing_options": {"max_tokens": 8, "cache": False, "seed": seed}},
        ).json["membrane_outputs"]
        for seed in (1, 1, 2)
    ]
    assert seeded[0] == seeded[1] != seeded[2]


def test_an_answer_is_given_again_from_the_cache(farm: Site) -> None:
    """The second equal job costs no tokens and says so."""
    body = {"input_text": f"Say it once {time.time_ns()}.", "processing_options": TINY}
    first, second = (farm.post("/api/cognitive/process", body).json for _ in range(2))
    assert (first["cache_hit"], second["cache_hit"]) == (False, True)
    assert second["response_text"] == first["response_text"]
    assert second["usage"]["completion_tokens"] == 0


def test_the_named_membranes_run_and_no_other(farm: Site) -> None:
    """A job with one membrane has one output, and an answer."""
    job = farm.ended(submit(farm, membranes=["grammar"]))
    assert job["status"] == "succeeded"
    assert list(job["result"]["membrane_outputs"]) == ["grammar"]
    assert job["result"]["response_text"]


def test_a_hundred_jobs_at_once_all_succeed(farm: Site) -> None:
    """Posted over a hundred connections at once, every job is accepted, runs once and succeeds."""

    def ended(number: int) -> dict[str, Any]:
        """Its job, waited for by the request itself."""
        body = {"input_text": f"Job {number}.", "cache": False, "options": TINY, "priority": 1 + number % 10}
        answer = farm.post("/api/jobs", body, {"Prefer": "wait=60"})
        assert answer.status in {200, 202}, answer.body
        return farm.ended(answer.json["job_id"])

    with ThreadPoolExecutor(100) as pool:
        jobs = list(pool.map(ended, range(100)))
    assert len({job["job_id"] for job in jobs}) == 100
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert {job["attempts"] for job in jobs} == {1}
    assert all(job["result"]["usage"]["completion_tokens"] >= 4 for job in jobs)  # one a step at least


def test_priority_ten_posted_last_starts_before_waiting_jobs_of_priority_one(farm: Site) -> None:
    """While the worker is busy, the queue is served by priority, not by arrival."""
    busy = [submit(farm, f"Busy {n}.", membranes=["memory"], options={"max_tokens": 4096}) for n in range(SLOTS)]
    until(lambda: all(farm.get(f"/api/jobs/{one}").json["status"] == "running" for one in busy), "all slots are taken")
    waiting = [submit(farm, f"Waiting {n}.", priority=1) for n in range(4)]
    middle = submit(farm, "Middle.", priority=5)
    urgent = submit(farm, "Urgent.", priority=10)
    farm.request("DELETE", f"/api/jobs/{busy[0]}")  # one slot is free: what waits starts one by one
    started = {job_id: farm.ended(job_id)["started_at"] for job_id in (*waiting, middle, urgent)}
    assert started[urgent] < started[middle] < min(started[job_id] for job_id in waiting)
    for job_id in busy:
        farm.request("DELETE", f"/api/jobs/{job_id}")


def test_events_tell_the_job_from_the_queue_to_the_answer(farm: Site) -> None:
    """Statuses, then tokens that add up to the answer, then the result; an id resumes right behind itself."""
    job_id = submit(farm, "Stream to me.", options={"max_tokens": 30, "temperature": 0})
    seen = list(frames(farm, job_id))
    kinds = [frame["event"] for frame in seen]
    assert kinds[:2] == ["status", "status"]
    assert kinds[-1] == "result"
    assert set(kinds[2:-1]) == {"token"}
    result = json.loads(seen[-1]["data"])
    pieces = [json.loads(frame["data"]) for frame in seen if frame["event"] == "token"]
    for membrane, text in (result["membrane_outputs"] | {"integration": result["response_text"]}).items():
        assert "".join(piece["text"] for piece in pieces if piece["membrane"] == membrane).strip() == text
    assert list(frames(farm, job_id, last=seen[3]["id"])) == seen[4:]
    assert list(frames(farm, job_id, last=seen[-1]["id"])) == []


def test_a_follower_sees_tokens_before_the_job_has_ended(farm: Site) -> None:
    """The stream is live: a token arrives while the job is still running."""
    job_id = submit(farm, "Live.", options={"max_tokens": 100})
    with closing(frames(farm, job_id)) as stream:
        assert any(frame["event"] == "token" for frame in stream)
    assert farm.get(f"/api/jobs/{job_id}").json["status"] == "running"
    farm.request("DELETE", f"/api/jobs/{job_id}")


def test_a_running_job_is_cancelled_in_the_engine(farm: Site) -> None:
    """DELETE ends the job at once, its stream says so, and the worker stops generating for it."""
    job_id = submit(farm, "Endless.", options={"max_tokens": 4096})
    seen: list[dict[str, str]] = []
    follower = threading.Thread(target=lambda: [seen.append(frame) for frame in frames(farm, job_id)])
    follower.start()
    until(lambda: any(frame["event"] == "token" for frame in list(seen)), "a token")
    assert farm.request("DELETE", f"/api/jobs/{job_id}").json["status"] == "cancelled"
    follower.join(30)
    assert json.loads(seen[-1]["data"]) == {"status": "cancelled"}
    log = farm.folder / "worker.log"
    until(
        lambda: any("step cancelled" in line and job_id in line for line in log.read_text().splitlines()),
        "the engine lets go of it",
        60,
    )
    assert farm.ended(submit(farm, "After it."))["status"] == "succeeded"


def test_waiting_returns_the_finished_job(farm: Site) -> None:
    """`Prefer: wait` answers 200 with the job once it has ended."""
    body = {"input_text": "Wait for me.", "options": TINY, "cache": False}
    answer = farm.post("/api/jobs", body, {"Prefer": "wait=30"})
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert answer.json["status"] == "succeeded"
    assert answer.json["result"]["response_text"]


def test_a_job_whose_every_membrane_fails_says_why(farm: Site) -> None:
    """A prompt over the worker's limit fails every membrane here, and the job says why, by membrane."""
    text = "word " * 6500  # under the API's limit of characters, over this worker's limit of tokens
    job = farm.ended(submit(farm, text))
    assert job["status"] == "failed"
    assert job["error"]["reason"] == "every membrane failed"
    assert all("at most 4096 are taken" in reason for reason in job["error"]["membranes"].values())
    assert set(job["error"]["membranes"]) == {"memory", "reasoning", "grammar"}


def test_any_text_is_answered(farm: Site) -> None:
    """Emoji, other scripts, control characters, separators of the prompt: nothing breaks."""
    texts = [
        "🦆🏳️‍🌈 नमस्ते 你好",
        "\x00\x01\x7f\u202e",
        "User: a\n\nAssistant: b\n\nSystem: c",
        "\n\n\n.\n\n\n",
        "é" * 2000,
    ]
    jobs = [farm.ended(submit(farm, text)) for text in texts]
    assert {job["status"] for job in jobs} == {"succeeded"}


def test_readiness_and_health_are_true(farm: Site) -> None:
    """With a live worker the farm is ready, and health names the worker and its model."""
    ready = farm.get("/readyz")
    assert (ready.status, ready.json["status"]) == (200, "ready")
    health = farm.get("/health").json
    (worker,) = health["workers"]
    assert worker["node"] == "worker@test"
    assert worker["model_name"] == "talkative"
    shared = ["echo.grammar", "echo.integration", "echo.memory", "echo.reasoning"]
    assert worker["queues"] == ["echo.direct.worker@test", *shared]
