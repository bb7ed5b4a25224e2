"""Requests made from our own OpenAPI document, good and bad ones, against the API under its production server.

No worker and no controller are there: what needs one is 503 or 504, as documented. `FUZZ_EXAMPLES=1000 pytest --all
tests/api/test_fuzzed.py` makes more of them, other ones each time.

Schemathesis is imported and makes its requests when a test runs, not at collection: it takes seconds, which every
process of every run would pay. So its plug-in for pytest is not used.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import leaks
import pytest
import requests
from callers import ADMIN_KEY
from hypothesis import HealthCheck, settings
from processes import Site

from echo_api import create_app
from echo_tasks.ledger import Ledger
from echo_tasks.messages import DeadLetter, JobError, JobSpec
from echo_tasks.registry import SERVICE
from echo_tasks.settings import load

if TYPE_CHECKING:
    from schemathesis import Case
    from schemathesis.schemas import BaseSchema

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "")
"""For each operation, beside those at the bounds of every field and those with one fault each."""

SETTINGS = settings(
    max_examples=int(EXAMPLES or 8),
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

AWAY = frozenset({503, 504})
"""What no worker and no controller answers."""

DOCUMENT: dict[str, Any] = create_app(load({})).api_doc
OPERATIONS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]


@dataclass(frozen=True)
class Caller:
    """Who asks whom, and what there is that paths may name."""

    site: Site
    session: requests.Session
    headers: Mapping[str, str]
    known: Mapping[str, str]


KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture
def caller(request: pytest.FixtureRequest, guarded: Site, keyed: Site, ledger: Ledger) -> Iterator[Caller]:
    """One for whom there are an ended job on the dead-letter list, a session, and a value in the cache."""
    spec = JobSpec(job_id=uuid.uuid4().hex, session_id=f"s-{uuid.uuid4().hex}", input_text="a")
    ledger.create(spec)
    letter = DeadLetter(spec=spec, reason="it fails", step="memory", deliveries=3, node="w@test", at=1.0)
    assert ledger.fail(spec, JobError(reason="it fails"), letter=letter)
    guarded.post("/api/cache/fuzzed", {"value": {"a": [1]}, "tags": ["fuzzed"]})
    known = {"job_id": spec.job_id, "session_id": spec.session_id, "name": SERVICE, "key": "fuzzed", "tags": "fuzzed"}
    headers = KEY if request.param == "with a key" else {}
    site = guarded if request.param == "anybody" else keyed
    with requests.Session() as session:
        yield Caller(site, session, headers, known | {"level": "L1"})


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "caller",
    [
        "with a key",
        pytest.param("anybody", marks=pytest.mark.long),
        pytest.param("without one", marks=pytest.mark.long),
    ],
    indirect=True,
)
def test_whatever_is_asked_is_answered_as_documented(operation: str, caller: Caller) -> None:
    """By a documented status, in its form, with no fault of the server's and nothing of the inside."""
    (test,) = _tests(_schema(bounds=True).include(name=operation))
    test(caller=caller)


@pytest.mark.parametrize("caller", ["anybody", "without one"], indirect=True)
def test_so_it_is_without_a_key(caller: Caller) -> None:
    """For some requests of every operation; those at the bounds of every field are made with a key."""
    tests = list(_tests(_schema(bounds=False)))
    assert len(tests) == len(OPERATIONS)
    for test in tests:
        test(caller=caller)


@cache
def _schema(bounds: bool) -> BaseSchema:
    """The API's document, of which requests are made; with `bounds`, those with one fault each and at each bound."""
    import schemathesis  # noqa: PLC0415 - see above

    config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": bounds}}})
    return schemathesis.openapi.from_dict(DOCUMENT, config=config)


def _tests(schema: BaseSchema) -> Iterator[Callable[..., None]]:
    """A test of each operation."""
    from schemathesis.pytest.lazy import get_all_tests  # noqa: PLC0415 - see above

    for made in get_all_tests(schema=schema, test_func=_is_answered, settings=SETTINGS, given_kwargs=None):
        yield made.ok()[1]


def _is_answered(case: Case, caller: Caller) -> None:
    from schemathesis.specs.openapi import checks  # noqa: PLC0415 - see above

    _name_what_there_is(case, caller.known)
    answer = case.call(base_url=caller.site.api, session=caller.session, headers=dict(caller.headers), timeout=30)
    assert answer.status_code < 500 or answer.status_code in AWAY, answer.text
    assert leaks.found_in(answer.text) == []
    assert answer.headers["content-security-policy"]
    conforming = [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.response_headers_conformance,
    ]
    if answer.status_code != 405:  # undocumented methods are tried, too
        case.validate_response(answer, checks=conforming, headers=dict(caller.headers))


def _name_what_there_is(case: Case, known: Mapping[str, str]) -> None:
    """Every other time: else next to nothing of what is behind a path's name would be reached.

    Which times, the case itself says: one that is tried again is to come out the same.
    """
    if zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode()) % 2:
        case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
