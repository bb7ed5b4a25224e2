"""Sessions: what their jobs have said, who may open one more, and what becomes of one that goes.

A session lives while a job of it is open, and for a while after its last activity. Those that clients name count
against a limit; one that was made for a single job, whose client named none, counts once a client does name it.
Every method blocks while the broker answers, and raises BrokerUnavailable.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from echo_tasks import keys
from echo_tasks.access.quotas import NOBODY, Account
from echo_tasks.connections import broker_faults
from echo_tasks.errors import SessionExists, SessionLimitReached, SessionNotFound, TurnNotKept
from echo_tasks.events import EVENTS_KEPT
from echo_tasks.messages import JobStatus, Stored, Turn
from echo_tasks.scripts import script
from echo_tasks.settings import Settings
from echo_tasks.telemetry.jobs import JOB_SECONDS


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """How many sessions may live at a time, and how much of each one's history is kept."""

    live: int = 100
    turns: int = 128
    tokens: int = 8192

    @classmethod
    def of(cls, settings: Settings) -> SessionBounds:
        """The bounds that the settings name."""
        return cls(settings.max_concurrent_sessions, settings.history_turns, settings.history_tokens)


class KeptTurn(Turn):
    """A turn as its session keeps it: its number, counted from 1, its job, and when that ended."""

    number: int
    job_id: str
    at: float


class Session(Stored):
    """A session's record. `turns` counts all there have been, `turns_kept` those that prompts still know.

    Times are seconds since the epoch; `processing_s` sums, over the `succeeded` and `failed` jobs, the time from a
    job's start to its end.
    """

    session_id: str
    created_at: float
    last_activity: float
    turns: int = 0
    turns_kept: int = 0
    tokens_kept: int = 0
    open_jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    cache_hits: int = 0
    processing_s: float = 0.0
    memories: int = 0

    @property
    def ended(self) -> int:
        """Jobs that were answered or failed; cancelled ones are neither."""
        return self.succeeded + self.failed


class Sessions:
    """The sessions on one broker. Threads and greenlets may share it."""

    def __init__(
        self, client: redis.Redis, *, retention_s: int, session_s: int, bounds: SessionBounds | None = None
    ) -> None:
        self._redis = client
        self._retention_s = retention_s
        self._session_s = session_s
        self._live = (bounds or SessionBounds()).live
        self._open = script(client, "open")
        self._fork = script(client, "fork")
        self._delete = script(client, "delete")
        self._page = script(client, "live")

    def open(self, session_id: str, account: Account = NOBODY) -> None:
        """Make an empty session. Raises SessionExists, SessionLimitReached, QuotaSpent."""
        args = [session_id, self._live, self._session_s, *account.of_sessions()]
        with broker_faults():
            reply = self._open(keys=keys.of_session(session_id), args=args)
        self._check(reply, session_id, account)

    def fork(self, source_id: str, turn: int, session_id: str, account: Account = NOBODY) -> None:
        """Make a session of the first `turn` turns of another one, with what it remembers of them.

        Its next job is asked as one of the source's would have been after that turn: they share cached answers and
        states. Raises SessionNotFound, SessionExists, SessionLimitReached, QuotaSpent, TurnNotKept.
        """
        with broker_faults():
            reply = self._fork(
                keys=[*keys.of_session(source_id), *keys.of_session(session_id)],
                args=[session_id, turn, self._live, self._session_s, *account.of_sessions()],
            )
        if reply[0] == "unknown":
            raise SessionNotFound(source_id)
        if reply[0] == "trimmed":
            raise TurnNotKept(turn, *map(int, reply[1:]))
        self._check(reply, session_id, account)

    def delete(self, session_id: str) -> list[str]:
        """Delete history, memories and record, and cancel the open jobs; their ids. Raises SessionNotFound."""
        cancelling = [keys.job("*"), keys.events("*"), keys.WAKE_CHANNEL, EVENTS_KEPT, self._retention_s]
        with broker_faults():
            reply = self._delete(
                keys=[*keys.of_session(session_id), keys.OPEN_JOBS, *keys.of_steps()], args=[session_id, *cancelling]
            )
        if not reply:
            raise SessionNotFound(session_id)
        for seconds in reply[2::2]:
            JOB_SECONDS.labels(JobStatus.CANCELLED.value).observe(float(seconds))
        return list(reply[1::2])

    def read(self, session_id: str) -> Session:
        """The session's record. Raises SessionNotFound."""
        (session,) = self._read([session_id])
        if session is None:
            raise SessionNotFound(session_id)
        return session

    def history(self, session_id: str) -> list[KeptTurn]:
        """The turns that are kept, oldest first. Raises SessionNotFound."""
        with broker_faults(), self._redis.pipeline() as pipe:
            pipe.hmget(keys.session(session_id), "created_at", "turns")
            pipe.lrange(keys.turns(session_id), 0, -1)
            (created_at, turns), texts = pipe.execute()
        if created_at is None:
            raise SessionNotFound(session_id)
        gone = int(turns or 0) - len(texts)
        return [_turn(text, gone + place) for place, text in enumerate(texts, 1)]

    def count(self, beginning: str = "") -> int:
        """How many sessions are live and count, of those whose ids begin so."""
        with broker_faults():
            return int(self._page(keys=[keys.SESSIONS], args=[beginning, 0, 0])[0])

    def live(self, *, offset: int = 0, limit: int = 100, beginning: str = "") -> list[Session]:
        """A page of the sessions that count: those with open jobs first, then by last activity, the latest first.

        Only those whose ids begin so.
        """
        with broker_faults():
            page = self._page(keys=[keys.SESSIONS], args=[beginning, offset, limit])[1]
        return [session for session in self._read(page) if session is not None]

    def _check(self, reply: list[str], session_id: str, account: Account) -> None:
        if refusal := account.refusal(reply):
            raise refusal
        if reply[0] == "exists":
            raise SessionExists(session_id)
        if reply[0] == "full":
            raise SessionLimitReached(self._live, int(reply[1]))

    def _read(self, session_ids: list[str]) -> list[Session | None]:
        with broker_faults(), self._redis.pipeline() as pipe:
            for session_id in session_ids:
                pipe.hgetall(keys.session(session_id))
                pipe.llen(keys.turns(session_id))
                pipe.llen(keys.line(session_id))
                pipe.hlen(keys.memories(session_id))
            found = iter(pipe.execute())
        return [_session(session_id, *(next(found) for _ in range(4))) for session_id in session_ids]


def _session(session_id: str, record: dict[str, str], turns: int, jobs: int, memories: int) -> Session | None:
    if not record:
        return None
    counts = {name: int(record.get(name, 0)) for name in ("turns", "succeeded", "failed", "cache_hits")}
    return Session(
        session_id=session_id,
        created_at=float(record["created_at"]),
        last_activity=float(record["last_activity"]),
        turns_kept=turns,
        tokens_kept=int(record.get("tokens", 0)) - int(record.get("forgotten", 0)),
        open_jobs=jobs,
        processing_s=int(record.get("processing_us", 0)) / 1e6,
        memories=memories,
        **counts,
    )


def _turn(text: str, number: int) -> KeptTurn:
    return KeptTurn.model_validate_json(f'{text[:-1]},"number":{number}}}')
