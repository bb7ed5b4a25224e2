"""The actuator of local workers: what it makes of the crew's file, the registry, and a crew that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import Scene

from autoscale.actuators.processes import Processes
from autoscale.observation import Instance
from echo_tasks.errors import ActuatorError
from echo_tasks.local.roster import Roster, Wanted
from echo_tasks.settings import load


@pytest.fixture
def roster(tmp_path: Path) -> Iterator[Roster]:
    """Of a crew that is there, of up to four."""
    roster = Roster("worker", load({"ECHO_VAR": str(tmp_path), "MAX_INSTANCES": "4"}))
    with roster.manned():
        roster.begin()
        yield roster


@pytest.fixture
def processes(roster: Roster, scene: Scene) -> Processes:
    return Processes(roster, scene.registry)


def live(*nodes: str, draining: tuple[str, ...] = ()) -> list[Instance]:
    return [Instance(node, 4, 0, 1.0, node in draining) for node in (*nodes, *draining)]


def test_whoever_is_wanted_and_has_not_said_a_word_starts(processes: Processes, roster: Roster) -> None:
    """Workers of another machine, or started by hand, are none of the crew's."""
    assert processes.starting([]) == 1
    processes.start(2)
    assert roster.wanted() == Wanted(3)
    assert processes.starting(live(roster.node(1), "worker2@elsewhere", f"mine@{roster.node(1).split('@')[1]}")) == 2


def test_one_that_drains_is_not_waited_for_when_it_is_gone(processes: Processes, roster: Roster) -> None:
    """Whoever asked it to: neither while it finishes, nor between its last word and its end."""
    processes.start(1)
    first, second = roster.node(1), roster.node(2)
    assert processes.starting(live(first, draining=(second,))) == 0
    assert processes.starting(live(first)) == 0
    processes.start(1)
    assert processes.starting(live(first)) == 1
    roster.strike_off(second)
    assert processes.starting(live(first)) == 1


def test_draining_is_the_registrys(processes: Processes, scene: Scene, roster: Roster) -> None:
    """The worker hears of it by its heartbeat."""
    scene.worker(roster.node(1))
    processes.drain(live(roster.node(1)))
    assert scene.registry.live()[0].draining


def test_without_a_crew_nothing_can_be_known_or_done(tmp_path: Path, scene: Scene) -> None:
    """A number that nobody reads starts nothing."""
    processes = Processes(Roster("worker", load({"ECHO_VAR": str(tmp_path)})), scene.registry)
    with pytest.raises(ActuatorError, match="no crew"):
        processes.start(1)
    with pytest.raises(ActuatorError, match="no crew"):
        processes.starting([])


def test_a_file_that_cannot_be_read_is_no_number(processes: Processes, roster: Roster, tmp_path: Path) -> None:
    """The controller holds then."""
    (tmp_path / "run" / "worker.wanted").write_text("half a")
    assert processes.starting([]) is None
