"""Every fault under load: no accepted job is lost, none has an effect twice, and answers are as ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crowd import SCRIPTS
from fleet import Fleet, fleet
from scenarios import LONG, QUICK, SCENARIOS, SLOW, run, undisturbed
from verdict import Answers

QUICK_SCRIPTS = (0, 2, 3)
"""A session of four turns, and two clients without one."""

pytestmark = pytest.mark.farm


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers, whose messages are overdue after one second, and their leases after two."""
    with fleet(tmp_path_factory.mktemp("small"), 2, {"ECHO_VISIBILITY_S": "1", "ECHO_LEASE_S": "2"}) as farm:
        yield farm


@pytest.fixture(scope="module")
def small_answers(small: Fleet) -> Answers:
    """What it answers when it is left alone."""
    return undisturbed(small, QUICK_SCRIPTS)


@pytest.mark.timeout(400)  # beyond the clients' patience, so that what is lost is named
@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - SLOW))
def test_nothing_is_lost_or_doubled(small: Fleet, small_answers: Answers, name: str) -> None:
    """The quick size."""
    verdict = run(name, small, QUICK, small_answers)
    assert verdict.accepted >= len(QUICK_SCRIPTS)
    assert not verdict.problems, "\n".join(verdict.problems)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three workers with the farm's own timeouts."""
    with fleet(tmp_path_factory.mktemp("large"), 3, {}) as farm:
        yield farm


@pytest.fixture(scope="module")
def large_answers(large: Fleet) -> Answers:
    """What it answers when it is left alone."""
    return undisturbed(large, range(len(SCRIPTS)))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_or_doubled_for_long(large: Fleet, large_answers: Answers, name: str) -> None:
    """The long size."""
    verdict = run(name, large, LONG, large_answers)
    assert not verdict.problems, "\n".join(verdict.problems)
