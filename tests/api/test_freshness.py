"""How long answers may be kept, and by whom."""

from __future__ import annotations

import pytest
from callers import ADMIN_KEY
from flask.testing import FlaskClient
from processes import Site
from werkzeug.test import TestResponse

from echo_api import create_app
from echo_api.freshness import FINISHED_S
from echo_tasks.settings import load

KEYS = [{"Authorization": f"Bearer {ADMIN_KEY}"}, {"X-API-Key": ADMIN_KEY}]


@pytest.fixture(scope="module")
def env(site: Site, broker_url: str, store_url: str) -> dict[str, str]:
    urls = {"BROKER_URL": broker_url, "CACHE_URL": store_url, "ECHO_VAR": site.env["ECHO_VAR"]}
    return urls | {"MAX_CONCURRENT_SESSIONS": "10000", "API_ADMIN_KEY": ADMIN_KEY}


@pytest.fixture(scope="module")
def client(env: dict[str, str]) -> FlaskClient:
    """Of an API that asks nobody for a key."""
    return create_app(load(env | {"API_KEYS": "off"})).test_client()


def said(answer: TestResponse) -> set[str]:
    """What an answer says of its keeping, word by word."""
    return set(filter(None, answer.headers.get("Cache-Control", "").split(", ")))


def ended(client: FlaskClient) -> str:
    """The path of a job that has ended."""
    path: str = client.post("/api/jobs", json={"input_text": "a"}).json["links"]["self"]
    assert client.delete(path).json["status"] == "cancelled"
    return path


def test_a_job_that_has_ended_may_be_kept_by_all_who_need_no_key(client: FlaskClient) -> None:
    """For a minute, by a shared cache as well; the same answer has the same validator, and is not sent twice."""
    path = ended(client)
    first = client.get(path)
    assert said(first) == {"public", f"max-age={FINISHED_S}", f"s-maxage={FINISHED_S}"}
    assert {"authorization", "x-api-key"} <= {name.lower() for name in first.vary}
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert said(again) == said(first)
    assert client.get(path, headers={"If-None-Match": '"another"'}).json == first.json


def test_where_others_need_keys_nobody_shares_what_one_without_is_told(env: dict[str, str]) -> None:
    """A program of this machine may do all: what it reads may be somebody's."""
    client = create_app(load(env)).test_client()
    assert said(client.get(ended(client))) == {"private", f"max-age={FINISHED_S}"}


@pytest.mark.parametrize("key", KEYS)
def test_what_a_key_opened_is_for_its_holder(client: FlaskClient, key: dict[str, str]) -> None:
    """No shared cache may keep it, and its holder asks again each time."""
    answer = client.get(ended(client), headers=key)
    assert said(answer) == {"private", "no-cache"}


def test_a_job_that_goes_on_is_not_kept(client: FlaskClient) -> None:
    """Nothing says that it may be, and it has no validator."""
    path = client.post("/api/jobs", json={"input_text": "a"}).json["links"]["self"]
    answer = client.get(path)
    assert "ETag" not in answer.headers
    assert said(answer) <= {"no-store"}
    client.delete(path)


@pytest.mark.parametrize(
    "path", ["/openapi/openapi.json", "/openapi/swagger", "/openapi/swagger/js/swagger-ui-bundle.js"]
)
def test_the_documents_may_be_kept_by_all(client: FlaskClient, path: str) -> None:
    """Longest by a shared cache; asked again with their validator they are 304, and may be kept on."""
    first = client.get(path)
    assert first.status_code == 200
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    for answer in (first, again):
        assert said(answer) == {"public", "max-age=60", "s-maxage=600", "stale-while-revalidate=600"}
        answer.close()


def test_an_error_among_the_documents_is_not_kept(client: FlaskClient) -> None:
    """It may be right the next time."""
    answer = client.get("/openapi/swagger/none.css")
    assert answer.status_code == 404
    assert said(answer) <= {"no-store"}
