"""Every error that crosses a seam of the farm.

EchoError
├── SettingsError            a setting that the process cannot start with
├── AccessUnset              the API would be open to others, or closed to all, and nobody has said which
├── CheckpointError          a model file that is missing, damaged, foreign or unsafe
├── BrokerUnavailable        the broker did not answer, or refused a write for want of room
├── FarmFull                 as many jobs are open as may be
├── MembraneFull             as many jobs wait for one membrane as may
├── QuotaSpent               a key's holder has as much as he may: open jobs, jobs or tokens of the day
├── KeyNotFound              no such API key
├── JobNotFound              no record of this job: never made, or past its retention
├── RecordDamaged            something else than the farm has written into a job's record
├── RecordTooNew             a newer release has written it, and this one cannot read it
├── SchemaTooNew             the keys of the broker are laid out as a newer release has them
├── LeaseLost                another worker has taken the step over; what this one did of it is void
├── LetterNotFound           no such job on the dead-letter list
├── IdempotencyConflict      a key that was used before, with another body
├── SessionNotFound          no such session: never made, deleted, or past its time
├── SessionExists            a session of that name is there already
├── SessionLimitReached      as many sessions are live as may be
├── SessionBusy              a job of the session is open, and what was asked has to wait for its end
├── ControllerAway           no controller is there to have more or fewer workers
├── ScalingRefused           there are as many, or as few, workers as may be, or nobody scales them
├── TurnNotKept              a turn that the session has not had yet, or that was trimmed away
├── ActuatorError            what starts and drains workers failed, or half succeeded
├── StepFailed               a step ended with an error: what Celery is told of its task
│   ├── StepRejected         its request can never be answered
│   └── StepOverdue          its job's time was over
└── GenerationError          the engine could not answer one request
    ├── RequestRejected      the request can never be answered: asking again will not help
    ├── DeadlineExceeded     the request was not answered in its time
    ├── EngineFull           the engine has too much in line; the same request may be taken later, or elsewhere
    ├── EngineFaulted        the step of the engine that the request was in failed, of want of memory for one
    └── EngineStopped        the engine takes no more work
"""

from __future__ import annotations

import sys
from typing import ClassVar, NoReturn

EX_CONFIG = 78
EX_TEMPFAIL = 75
"""Exit status of a process that cannot start as it is configured (sysexits.h)."""


class EchoError(Exception):
    """The root of the farm's own errors."""


class SettingsError(EchoError):
    """One or more environment variables hold values that are not allowed; one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class AccessUnset(EchoError):
    """The API is bound beyond loopback, and there is no key that anybody could use it with."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"API_HOST={host!r} is not loopback, and there is no API key: make one (python -m echo_tasks.access make "
            "NAME), set API_ADMIN_KEY, or say API_KEYS=required to start without any, or API_KEYS=off to let all in"
        )
        self.host = host


class CheckpointError(EchoError):
    """A model file cannot be served; `reason` says why in one clause."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"model {path}: {reason}")
        self.path = path
        self.reason = reason


class NoRoom(EchoError):
    """A model would fit into this machine's memory, if others had not taken so much of it."""


class BrokerUnavailable(EchoError):
    """The broker cannot be reached or cannot take the write now; the same call may succeed later.

    `reason` is a word for logs: `unreachable`, `memory`, `disk`, `read-only`, `loading` or `busy`.
    """

    def __init__(self, message: str, *, reason: str = "unreachable") -> None:
        super().__init__(message)
        self.reason = reason


class FarmFull(EchoError):
    """No more jobs may be open; there may be room for some in `retry_after_s` seconds."""

    def __init__(self, most: int, retry_after_s: int) -> None:
        super().__init__(f"{most} jobs are open, which is as many as may be")
        self.retry_after_s = retry_after_s


class MembraneFull(EchoError):
    """No more jobs may wait for the membrane; there may be room for some in `retry_after_s` seconds."""

    def __init__(self, membrane: str, most: int, retry_after_s: int) -> None:
        super().__init__(f"{most} jobs wait for the membrane {membrane}, which is as many as may")
        self.membrane = membrane
        self.retry_after_s = retry_after_s


class QuotaSpent(EchoError):
    """The key's holder may have no more of it; some may be free in `retry_after_s` seconds."""

    def __init__(self, quota: str, most: int, retry_after_s: int) -> None:
        super().__init__(f"{most} {quota} are as many as your key may have")
        self.quota = quota
        self.most = most
        self.retry_after_s = retry_after_s


class KeyNotFound(EchoError):
    """There is no such API key, or none that is good."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no API key {key_id} that is good")
        self.key_id = key_id


class JobNotFound(EchoError):
    """There is no record of the job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class RecordDamaged(EchoError):
    """What a job's record holds cannot be read; whoever finds out ends the job (`damage.py`)."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the record of job {job_id} cannot be read")
        self.job_id = job_id


class RecordTooNew(EchoError):
    """A newer release has written it: those who can read that see to it."""

    def __init__(self, version: int, latest: int) -> None:
        super().__init__(f"its record is of version {version}; this release reads up to {latest}")
        self.version = version


class SchemaTooNew(EchoError):
    """A process of this release must not touch the keys of this broker."""

    def __init__(self, number: int, compatible_from: int, latest: int) -> None:
        super().__init__(
            f"the broker's keys are of schema {number}, which releases of schema {compatible_from} or later can use; "
            f"this one is of schema {latest}: start a newer release"
        )


class LeaseLost(EchoError):
    """The step is another worker's now: this one's output, end and tokens are refused."""

    def __init__(self, job_id: str, step: str) -> None:
        super().__init__(f"step {step} of job {job_id} was taken over")
        self.job_id = job_id
        self.step = step


class LetterNotFound(EchoError):
    """The dead-letter list has no letter of that job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no dead letter of job {job_id}")
        self.job_id = job_id


class IdempotencyConflict(EchoError):
    """The idempotency key belongs to a job with another body."""

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(f"idempotency key {key!r} belongs to job {job_id}, which has another body")
        self.key = key
        self.job_id = job_id


class SessionNotFound(EchoError):
    """There is no such session."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"no session {session_id}")
        self.session_id = session_id


class SessionExists(EchoError):
    """The name is another session's."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id} exists")
        self.session_id = session_id


class SessionLimitReached(EchoError):
    """No more sessions may be live; the first one may be gone in `retry_after_s` seconds."""

    def __init__(self, most: int, retry_after_s: int) -> None:
        super().__init__(f"{most} sessions are live, which is as many as may be")
        self.retry_after_s = retry_after_s


class SessionBusy(EchoError):
    """A job of the session is open; the same call may succeed once it has ended."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"a job of session {session_id} is open")
        self.session_id = session_id


class TurnNotKept(EchoError):
    """The session cannot be taken up after that turn; it can after `first` to `last`, if that is a range."""

    def __init__(self, turn: int, first: int, last: int) -> None:
        kept = f"from {first} to {last}" if first <= last else "none, since all of its turns were trimmed away"
        super().__init__(f"the session cannot be forked after turn {turn}; possible: {kept}")
        self.turn = turn
        self.first = first
        self.last = last


class ActuatorError(EchoError):
    """The platform that runs the workers did not do what it was asked for, or not all of it; the message says what."""


class ControllerAway(EchoError):
    """No controller leads: nobody would take the request up."""

    def __init__(self) -> None:
        super().__init__("no controller is there to take that up")


class ScalingRefused(EchoError):
    """So many workers there cannot be; `is_bound` tells whether that is for a bound, `least` or `most`."""

    def __init__(self, reason: str, *, is_bound: bool) -> None:
        super().__init__(reason)
        self.is_bound = is_bound


class StepFailed(EchoError):
    """A step ended with an error, which its job's record tells; here is no word of what was asked or answered.

    Celery keeps such errors as they are pickled: they have one argument, their message.
    """


class StepRejected(StepFailed):
    """The step's request can never be answered."""


class StepOverdue(StepFailed):
    """The time of the step's job was over."""


class GenerationError(EchoError):
    """One request failed in the engine; its neighbours did not."""

    may_pass: ClassVar[bool] = False
    """Whether the same request may succeed when it is tried again."""


class RequestRejected(GenerationError):
    """The request is outside what the engine can ever do; `field` names the part at fault."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class DeadlineExceeded(GenerationError):
    """The time that the request had is over; `tokens` had been read and generated for it."""

    def __init__(self, tokens: int = 0) -> None:
        super().__init__("the time for this request is over")
        self.tokens = tokens


class EngineFull(GenerationError):
    """As many requests are in line as may be; the same one may be taken later."""

    may_pass = True


class EngineFaulted(GenerationError):
    """The step of the engine that the request was in failed; the request need not be why."""

    may_pass = True


class EngineStopped(GenerationError):
    """The engine has ended, or is ending, and takes no more work."""


def exit_misconfigured(error: EchoError) -> NoReturn:
    """Print `error` to stderr, one line a problem, and end the process with EX_CONFIG."""
    for line in str(error).splitlines():
        print(f"echo: {line}", file=sys.stderr)
    raise SystemExit(EX_CONFIG) from error
