"""Requests made from our own OpenAPI document, good and bad ones, against the API under its production server.

No worker and no controller are there: what needs one is 503 or 504, as documented. `FUZZ_EXAMPLES=1000 pytest
tests/api/test_fuzzed.py` makes more of them, other ones each time.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import leaks
import pytest
import schemathesis
from callers import ADMIN_KEY
from hypothesis import HealthCheck, settings
from processes import Site
from schemathesis import Case
from schemathesis.specs.openapi import checks

from echo_api import create_app
from echo_tasks.ledger import Ledger
from echo_tasks.messages import DeadLetter, JobError, JobSpec
from echo_tasks.registry import SERVICE
from echo_tasks.settings import load

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "")
"""For each operation, beside those at the bounds of every field and those with one fault each."""

CONFORMING = (
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
)

AWAY = frozenset({503, 504})
"""What no worker and no controller answers."""

schema = schemathesis.openapi.from_dict(create_app(load({})).api_doc)


@dataclass(frozen=True)
class Caller:
    """Who asks whom, and what there is that paths may name."""

    site: Site
    headers: Mapping[str, str]
    known: Mapping[str, str]


KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture(params=["anybody", "with a key", "without one"])
def caller(request: pytest.FixtureRequest, guarded: Site, keyed: Site, ledger: Ledger) -> Caller:
    """One for whom there are an ended job on the dead-letter list, a session, and a value in the cache."""
    spec = JobSpec(job_id=uuid.uuid4().hex, session_id=f"s-{uuid.uuid4().hex}", input_text="a")
    ledger.create(spec)
    letter = DeadLetter(spec=spec, reason="it fails", step="memory", deliveries=3, node="w@test", at=1.0)
    assert ledger.fail(spec, JobError(reason="it fails"), letter=letter)
    guarded.post("/api/cache/fuzzed", {"value": {"a": [1]}, "tags": ["fuzzed"]})
    known = {"job_id": spec.job_id, "session_id": spec.session_id, "name": SERVICE, "key": "fuzzed", "tags": "fuzzed"}
    headers = KEY if request.param == "with a key" else {}
    return Caller(guarded if request.param == "anybody" else keyed, headers, known | {"level": "L1"})


@schema.parametrize()
@settings(
    max_examples=int(EXAMPLES or 8),
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_asked_is_answered_as_documented(case: Case, caller: Caller) -> None:
    """By a documented status, in its form, with no fault of the server's and nothing of the inside."""
    _name_what_there_is(case, caller.known)
    answer = case.call(base_url=caller.site.api, headers=dict(caller.headers), timeout=30)
    assert answer.status_code < 500 or answer.status_code in AWAY, answer.text
    assert leaks.found_in(answer.text) == []
    assert answer.headers["content-security-policy"]
    if answer.status_code != 405:  # undocumented methods are tried, too
        case.validate_response(answer, checks=list(CONFORMING), headers=dict(caller.headers))


def _name_what_there_is(case: Case, known: Mapping[str, str]) -> None:
    """Every other time: else next to nothing of what is behind a path's name would be reached.

    Which times, the case itself says: one that is tried again is to come out the same.
    """
    if zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode()) % 2:
        case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
