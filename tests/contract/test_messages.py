"""What clients may send."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from echo_tasks.answers import answer_key
from echo_tasks.messages import JobRequest, JobResult, JobSpec, ProcessRequest, Usage


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_text", ""),
        ("input_text", " \n\t"),
        ("input_text", "x" * 32769),
        ("input_text", "half a pair \ud83d"),
        ("input_text", 7),
        ("input_text", None),
        ("priority", 0),
        ("priority", 11),
        ("priority", "5"),
        ("priority", 1.5),
        ("priority", True),
        ("session_id", ""),
        ("session_id", "a b"),
        ("session_id", "x" * 129),
        ("session_id", "ok\n"),
        ("membranes", []),
        ("membranes", ["memory", "memory"]),
        ("membranes", ["intuition"]),
        ("membranes", "memory"),
        ("tags", ["t"] * 17),
        ("tags", ["a b"]),
        ("cache", 1),
        ("surprise", 1),
        ("options.max_tokens", 0),
        ("options.max_tokens", 4097),
        ("options.temperature", -0.1),
        ("options.temperature", float("nan")),
        ("options.temperature", float("inf")),
        ("options.top_p", 1.1),
        ("options.seed", -1),
        ("options.seed", 2**63),
        ("options.stop", ["a"] * 5),
        ("options.stop", [""]),
        ("options.stop", ["é" * 129]),
        ("options.surprise", 1),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    """Each wrong, missing or unknown field is refused, and only it is named."""
    body: dict[str, Any] = {"input_text": "Hello."}
    if field.startswith("options."):
        body["options"] = {field.removeprefix("options."): value}
    else:
        body[field] = value
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(body)
    named = {".".join(str(part) for part in error["loc"]) for error in caught.value.errors()}
    assert {name[: len(field)] for name in named} == {field}


def test_the_widest_request_is_taken() -> None:
    """Every bound is inside."""
    request = JobRequest.model_validate(
        {
            "input_text": "é" * 32768,
            "session_id": "a-Z_9" * 25,
            "membranes": ["grammar", "memory"],
            "priority": 10,
            "options": {"max_tokens": 4096, "temperature": 2, "top_p": 0, "seed": 2**63 - 1, "stop": ["x" * 256] * 4},
            "cache": False,
            "tags": [f"t{n}" for n in range(16)],
        }
    )
    assert request.priority == 10


def test_the_synchronous_request_is_the_same_job() -> None:
    """`processing_options` carries the sampling options, the membranes and the cache."""
    request = ProcessRequest.model_validate(
        {
            "input_text": "Hello.",
            "session_id": "s",
            "priority": 3,
            "processing_options": {
                "max_tokens": 5,
                "seed": 1,
                "membranes": ["grammar"],
                "cache": False,
                "timeout_s": 30,
            },
        }
    )
    assert request.as_job() == JobRequest.model_validate(
        {
            "input_text": "Hello.",
            "session_id": "s",
            "priority": 3,
            "options": {"max_tokens": 5, "seed": 1},
            "membranes": ["grammar"],
            "cache": False,
            "timeout_s": 30,
        }
    )


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"session_id": "other"}, True),
        ({"priority": 9}, True),
        ({"tags": ["a"]}, False),
        ({"tags": []}, True),
        ({"job_id": "b"}, True),
        ({"input_text": "Other."}, False),
        ({"membranes": ["memory"]}, False),
        ({"options": {"seed": 1}}, False),
    ],
)
def test_the_answers_key_is_of_what_decides_the_answer(change: dict[str, Any], same: bool) -> None:
    """Who asks, and how urgently, decides nothing; text, membranes, sampling and what makes it void do."""
    base = {"job_id": "a", "session_id": "s", "input_text": "Hello."}
    one, two = JobSpec.model_validate(base), JobSpec.model_validate(base | change)
    assert (answer_key(one, "id") == answer_key(two, "id")) is same
    assert answer_key(one, "id") != answer_key(one, "another model")


def test_an_answer_for_another_job_costs_that_one_nothing() -> None:
    """Nothing was generated for it; the first one has its own usage still."""
    result = JobResult(
        session_id="a",
        response_text="Five.",
        processing_time_ms=9.0,
        membrane_outputs={},
        cognitive_metadata={},
        usage=Usage(prompt_tokens=3, completion_tokens=2),
    )
    shared = result.for_another("b", tier="l2", elapsed_ms=0.123)
    assert (shared.session_id, shared.response_text, shared.processing_time_ms) == ("b", "Five.", 0.1)
    assert (shared.usage, shared.cache_hit, shared.cache_tier) == (Usage(), True, "l2")
    assert result.usage.completion_tokens == 2
