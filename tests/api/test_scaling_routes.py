"""Scaling over HTTP and on the command line, with a controller's word in the broker and no controller."""

from __future__ import annotations

import subprocess
import sys

import pytest
from flask.testing import FlaskClient
from processes import ROOT
from test_requests import problem

from echo_api import create_app
from echo_tasks import connections, keys
from echo_tasks.messages import ScalingEvent, ScalingState
from echo_tasks.scaling import Scaling
from echo_tasks.settings import load

UP, DOWN = "/api/scaling/cognitive-service/scale-up", "/api/scaling/cognitive-service/scale-down"
EVENTS = "/api/scaling/cognitive-service/events"


@pytest.fixture
def own_broker(broker_url: str) -> str:
    """A database of the test's own, empty."""
    own = broker_url.removesuffix("/0") + "/5"
    with connections.impatient(own) as broker:
        broker.flushdb()
    return own


@pytest.fixture
def client(own_broker: str, store_url: str) -> FlaskClient:
    return create_app(load({"BROKER_URL": own_broker, "CACHE_URL": store_url})).test_client()


@pytest.fixture
def scaling(client: FlaskClient) -> Scaling:
    found: Scaling = client.application.extensions["farm"].scaling
    return found


def leads(scaling: Scaling, desired: int, actuator: str = "processes") -> None:
    """A controller's word: from one to three workers, and so many wanted."""
    known = {"controller": "c", "at": 1.0, "is_enabled": True, "least": 1, "most": 3, "reason": "steady"}
    counts = {"desired": desired, "serving": desired, "starting": 0, "draining": 0, "utilisation": 0.5}
    scaling.tell(ScalingState.model_validate(known | counts | {"actuator": actuator}))


def asked(own_broker: str) -> str | None:
    with connections.impatient(own_broker) as broker:
        found: str | None = broker.get(keys.SCALING_ASKED)
        return found


def test_one_more_and_one_fewer_are_noted_for_the_controller(
    client: FlaskClient, scaling: Scaling, own_broker: str
) -> None:
    """The reference's fields; requests that nobody has seen to yet add up."""
    leads(scaling, 1)
    for desired in (2, 3):
        answer = client.post(UP)
        assert answer.status_code == 200
        told = answer.json
        assert told.pop("timestamp").endswith("Z")
        assert told == {
            "service_name": "cognitive-service", "action": "scale_up", "status": "initiated", "desired": desired
        }  # fmt: skip
        assert asked(own_broker) == str(desired)
    assert client.post(DOWN).json["desired"] == 2
    assert asked(own_broker) == "2"


def test_a_bound_is_400(client: FlaskClient, scaling: Scaling, own_broker: str) -> None:
    """By the controller's own bounds; nothing is noted."""
    leads(scaling, 3)
    assert "at most 3" in problem(client.post(UP), 400)["detail"]
    leads(scaling, 1)
    assert "at least 1" in problem(client.post(DOWN), 400)["detail"]
    assert asked(own_broker) is None


def test_without_a_controller_it_is_503(client: FlaskClient) -> None:
    """With the time to come back in."""
    answer = client.post(UP)
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_where_nobody_scales_it_is_409(client: FlaskClient, scaling: Scaling) -> None:
    """A request that nobody would take up is not accepted."""
    leads(scaling, 1, actuator="none")
    assert "SCALE_ACTUATOR" in problem(client.post(UP), 409)["detail"]


@pytest.mark.parametrize("path", ["scale-up", "scale-down", "events"])
def test_another_service_is_404(client: FlaskClient, scaling: Scaling, path: str) -> None:
    """There is one."""
    leads(scaling, 2)
    send = client.get if path == "events" else client.post
    problem(send(f"/api/scaling/other/{path}"), 404)


def test_events_are_read_in_pages_with_their_inputs(client: FlaskClient, scaling: Scaling) -> None:
    """The latest first; `before` goes on where a page ended; a bad page is 422."""
    assert client.get(EVENTS).json == {"service_name": "cognitive-service", "events": []}
    counts = {"current": 1, "utilisation": 1.5, "serving": 1, "starting": 0, "draining": 0, "slots": 4, "busy": 4}
    counts |= {"delivered": 0, "ready": 2, "oldest_s": 0.5, "arrived": 9}
    for desired in (2, 3, 4):
        scaling.record(ScalingEvent(at=1.0, controller="c", reason="scale_up", desired=desired, **counts))
    page = client.get(f"{EVENTS}?limit=2").json["events"]
    assert [event["desired"] for event in page] == [4, 3]
    assert page[0]["timestamp"] == "1970-01-01T00:00:01Z"
    assert {name: page[0][name] for name in counts} == counts
    rest = client.get(f"{EVENTS}?before={page[-1]['id']}").json["events"]
    assert [event["desired"] for event in rest] == [2]
    for query in ("limit=0", "limit=1001", "before=yesterday", "before=0-0"):
        problem(client.get(f"{EVENTS}?{query}"), 422)


def test_the_routes_are_documented(client: FlaskClient) -> None:
    """With what they may answer."""
    paths = client.get("/openapi/openapi.json").json["paths"]
    assert {"200", "400", "404", "409", "503"} <= paths["/api/scaling/{name}/scale-up"]["post"]["responses"].keys()
    assert {"200", "404", "422"} <= paths["/api/scaling/{name}/events"]["get"]["responses"].keys()


def scale(own_broker: str, number: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "echo_tasks.local.control", "scale", number]
    env = {"BROKER_URL": own_broker, "MAX_INSTANCES": "3"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("number", ["0", "4", "many", "-1", "1.5", ""])
def test_a_number_that_cannot_be_is_refused_on_the_command_line(own_broker: str, number: str) -> None:
    """One line names the bounds and the settings that they are from."""
    done = scale(own_broker, number)
    assert done.returncode == 2
    assert "from MIN_INSTANCES=1 to MAX_INSTANCES=3" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_line_says_what_is_missing(own_broker: str, scaling: Scaling) -> None:
    """A controller, somebody who scales, or the broker."""
    assert scale(own_broker, "2").stderr == "scale 2: no controller is there to take that up\n"
    leads(scaling, 1, actuator="none")
    with connections.impatient(own_broker) as broker:
        broker.persist(keys.SCALING_STATE)  # a controller would renew what it says
    assert "SCALE_ACTUATOR is none" in scale(own_broker, "2").stderr
    assert "The farm does not run" in scale("redis://127.0.0.1:1/0", "2").stderr
