"""What the reaper reads in a round: whatever nobody may be seeing to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from echo_tasks import keys

_LANES = [(step, priority) for step in keys.STEPS for priority in range(1, keys.HIGHEST + 1)]
LANE_KEYS = [key for lane in _LANES for key in (keys.lane(*lane), keys.waiting(*lane))]
LANE_NAMES = [f"{step}:{priority}" for step, priority in _LANES]


class Suspect(NamedTuple):
    """A step that nobody seems to see to: its lease's token, or the lane that lost its message; neither: it is due."""

    job_id: str
    step: str
    token: str = ""
    lane: str = ""


class Undispatched(NamedTuple):
    """A job that has not been let go, or waits for an equal one, with the statuses of both; empty: there is none.

    `version` is that of its record; empty: the first.
    """

    job_id: str
    status: str
    is_let_go: str
    leader_id: str
    leader_status: str
    version: str


class Lane(NamedTuple):
    """A queue of one priority: messages that wait, and when that was published that was claimed latest in line."""

    name: str
    waiting: int
    latest_claimed: str


class Direct(NamedTuple):
    """A worker's own queue: whether the worker takes nothing any more, and the steps that wait there for too long."""

    node: str
    is_gone: str
    steps: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to see to, by the broker's clock."""

    now: float
    expired: Sequence[Suspect]
    due: Sequence[Suspect]
    overdue: Sequence[str]
    undispatched: Sequence[Undispatched]
    lanes: Sequence[Lane]
    directs: Sequence[Direct]

    @classmethod
    def of(cls, reply: Sequence[Any]) -> Survey:
        """The survey that `lua/survey.lua` answers, when it is the caller's turn to reap."""
        now, expired, due, overdue, undispatched, lanes, directs = reply
        return cls(
            now=float(now),
            expired=[Suspect(*lease) for lease in expired],
            due=[Suspect(*step) for step in due],
            overdue=overdue,
            undispatched=[Undispatched(*job) for job in undispatched],
            lanes=[Lane(*lane) for lane in lanes],
            directs=[Direct(*direct) for direct in directs],
        )
