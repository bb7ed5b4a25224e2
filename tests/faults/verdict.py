"""What a load came to under faults: every accepted job ended once, with the answer of an undisturbed farm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import redis
from crowd import Asked

from echo_tasks import keys

Answers = Mapping[tuple[int, int], str]
"""What an undisturbed farm answers, by script and place."""


@dataclass
class Verdict:
    """The count of jobs, and the problems by kind: each of the lists should be empty."""

    scenario: str
    accepted: int
    refusals: int
    longest_job_s: float
    recovery_s: float
    lost: list[str] = field(default_factory=list)
    """Jobs that never ended, or that nobody knows of."""
    failed: list[str] = field(default_factory=list)
    """Jobs that ended without an answer."""
    doubled: list[str] = field(default_factory=list)
    """Effects that are there twice: results, turns, tokens of a run."""
    wrong: list[str] = field(default_factory=list)
    """Answers that an undisturbed farm does not give."""

    @property
    def ended_once(self) -> int:
        """Jobs that ended, and did so once."""
        return self.accepted - len({problem.split(":")[0] for problem in (*self.lost, *self.doubled)})

    @property
    def problems(self) -> list[str]:
        """All of them, each with its kind."""
        kinds = {"lost": self.lost, "failed": self.failed, "doubled": self.doubled, "wrong": self.wrong}
        return [f"{kind} {problem}" for kind, problems in kinds.items() for problem in problems]


def open_jobs(broker: redis.Redis) -> set[str]:
    """The jobs that have been accepted and have not ended."""
    return set(broker.zrange(keys.OPEN_JOBS, 0, -1))


def judge(
    scenario: str,
    asked: Sequence[Asked],
    expected: Answers,
    strikes: Iterable[float],
    broker: redis.Redis,
    forgotten: Set[str] = frozenset(),
) -> Verdict:
    """The verdict on what clients asked, from what they got and from what the broker holds of it.

    `forgotten` are open jobs of former loads, which are counted there.
    """
    ended = [one for one in asked if one.ended_at is not None]
    verdict = Verdict(
        scenario,
        accepted=sum(bool(one.job_id) for one in asked),
        refusals=sum(one.refusals for one in asked),
        longest_job_s=max((one.ended_at - one.asked_at for one in ended if one.ended_at), default=0),
        recovery_s=max((_recovery_s(one, strikes) for one in ended), default=0),
    )
    verdict.lost += [f"{one.job_id or one.text}: not ended" for one in asked if one.ended_at is None]
    unknown = open_jobs(broker) - forgotten - {one.job_id for one in asked}
    verdict.lost += [f"{job_id}: open, and nobody asked for it" for job_id in unknown]
    for one in ended:
        if one.answer is None:
            verdict.failed.append(f"{one.job_id}: {one.job['status']} {one.job['error']}")
            continue
        if one.answer != expected[one.script, one.place]:
            verdict.wrong.append(f"{one.job_id}: {one.answer!r} for {expected[one.script, one.place]!r}")
        verdict.doubled += (f"{one.job_id}: {what}" for what in _doubled_events(one, broker))
    verdict.doubled += _doubled_turns(asked, broker)
    return verdict


def _recovery_s(one: Asked, strikes: Iterable[float]) -> float:
    """How long after the last fault that it lived through the job ended; 0 if there was none."""
    assert one.ended_at is not None
    return min((one.ended_at - at for at in strikes if one.asked_at <= at <= one.ended_at), default=0)


def _doubled_events(one: Asked, broker: redis.Redis) -> list[str]:
    """What the job's stream tells twice."""
    events = [(fields["type"], json.loads(fields["data"])) for _, fields in broker.xrange(keys.events(one.job_id))]
    problems = []
    if (ends := sum(kind in {"result", "error"} for kind, _ in events)) != 1:
        problems.append(f"{ends} ends")
    for step, text in _streamed(events).items():
        whole = one.answer if step == keys.INTEGRATION else one.job["result"]["membrane_outputs"].get(step)
        if whole is not None and len(text.strip()) > len(whole):
            problems.append(f"{step} streamed {text!r} for {whole!r}")
    return problems


def _streamed(events: Iterable[tuple[str, dict[str, str]]]) -> dict[str, str]:
    """Each step's tokens since it last began; a broker that was away may have cost some of them."""
    texts: dict[str, str] = {}
    for kind, data in events:
        if kind == "status" and (step := data.get("restarted")):
            texts[step] = ""
        elif kind == "token":
            texts[data["membrane"]] = texts.get(data["membrane"], "") + data["text"]
    return texts


def _doubled_turns(asked: Sequence[Asked], broker: redis.Redis) -> list[str]:
    """Sessions whose history is not what was said in them, once and in order; none of those that lost a job."""
    said: dict[str, list[str]] = {}
    for one in asked:
        if one.session_id:
            said.setdefault(one.session_id, []).append(one.text)
    for one in asked:
        if one.session_id and one.ended_at is None:
            said.pop(one.session_id, None)
    problems = []
    for session_id, texts in said.items():
        turns = [json.loads(turn)["user"] for turn in broker.lrange(keys.turns(session_id), 0, -1)]
        if turns != texts:
            problems.append(f"{session_id}: turns {turns} for {texts}")
    return problems


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in lines, with their problems below."""
    head = (
        f"{'':18} {'accepted':>8} {'ended once':>10} {'lost':>5} {'failed':>6} {'doubled':>7} {'wrong':>5} "
        f"{'503s':>5} {'longest job, s':>14} {'recovery, s':>11}"
    )
    rows = [
        f"{of.scenario:18} {of.accepted:8} {of.ended_once:10} {len(of.lost):5} {len(of.failed):6} {len(of.doubled):7} "
        f"{len(of.wrong):5} {of.refusals:5} {of.longest_job_s:14.1f} {of.recovery_s:11.1f}"
        for of in verdicts
    ]
    problems = [f"{of.scenario}: {problem}" for of in verdicts for problem in of.problems]
    return "\n".join([head, *rows, *problems])
