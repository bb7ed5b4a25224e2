"""Every queue name and Redis key of the farm, in one place."""

from __future__ import annotations

from typing import Literal, get_args

Membrane = Literal["memory", "reasoning", "grammar"]

MEMBRANES: tuple[Membrane, ...] = get_args(Membrane)
"""The membranes that a job may name; each has a queue and a task, and they run side by side."""

INTEGRATION = "integration"
"""The step that composes the answer from the membranes' outputs."""

STEPS: tuple[str, ...] = (*MEMBRANES, INTEGRATION)

HIGHEST = 10
"""The priority that is served first."""

DISPATCH = "dispatch"
"""What a job waits for that has not been let go, or follows an equal one: somebody looks after it, as after a step."""

LEASES = "echo:steps:leased"
"""Sorted set of the steps that a worker holds, as `JOB.STEP`, by the moment until which it has them."""

DELAYED = "echo:steps:delayed"
"""Sorted set of the steps that are to be tried again, and of jobs to be dispatched, by the moment to see to them."""

TRIALS = "echo:steps:trials"
"""Sorted set of the steps that have one try left, by when they came to that; the first one has it, the others wait."""

PUBLISHED = "echo:steps:published:"
"""What the keys of `lane` begin with."""

CLAIMED = "echo:steps:claimed"
"""Hash by lane: when the message was published, of all that were claimed, that was published last."""

DIRECTS = "echo:steps:direct"
"""Sorted set of the nodes whose own queues have been sent steps, by when that was last."""

DEADLINES = "echo:jobs:deadlines"
"""Sorted set of the open jobs whose clients give them a time, by its end."""

REAPER = "echo:reaper"
"""String with a time to live: who reaps."""

DEAD_LETTERS = "echo:dead-letters"
"""Sorted set of the jobs on the dead-letter list, by the time they were put there."""

LETTERS = "echo:dead-letters:letters"
"""Hash: the dead letters by their jobs' ids, as JSON."""

WAKE_CHANNEL = "echo:wake"
"""Channel that carries `job_id,job_id,…` when jobs' streams grow, and `job_id end` when one ends."""

OPEN_JOBS = "echo:jobs:open"
"""Sorted set of the jobs that have not ended, by the time they were accepted."""


def awaiting(membrane: str) -> str:
    """Set: the open jobs that wait for a membrane's output. Scripts know it by this form (`lua/backlog.lua`)."""
    return f"{OPEN_JOBS}:{membrane}"


def open_of(owner: str) -> str:
    """Set: an owner's jobs that have not ended. Scripts know it by this form (`lua/backlog.lua`)."""
    return f"{OPEN_JOBS}:of:{owner}"


COUNTS = "echo:counts"
"""Hash: how many jobs and steps have come and ended, and how, ever since the broker has data (`counts.py`)."""

CONTROLLER = "echo:scaling:controller"
"""String with a time to live: which controller leads."""

SCALING_STATE = "echo:scaling:state"
"""String with a time to live: what the leading controller sees and wants, as JSON."""

SCALING_ASKED = "echo:scaling:asked"
"""String with a time to live: how many workers somebody has asked for by hand."""

SCALING_EVENTS = "echo:scaling:events"
"""Stream: what the controllers decided, and why, the latest ones."""

SCALING_HISTORY = "echo:scaling:history"
"""Sorted set: the load of the past weeks, a member a bin of time, by when the bin began."""

STARTUPS = "echo:scaling:startups"
"""List: how many seconds the latest workers took from being asked for to their first word, the latest first."""

SESSIONS = "echo:sessions"
"""Sorted set of the live sessions that count, by the moment until which they live; `inf` while a job is open."""

MEMORY_COUNTS = "echo:memories:counts"
"""Hash: how many memories have been stored, recalled, dropped and consolidated, and how often they were searched."""

ACCESS = "echo:access"
"""Sorted set of the API keys' ids, by when they were made."""

ACCESS_CHANNEL = "echo:access:changes"
"""Channel that carries an API key's id when it is revoked or rotated."""

PROBE = "echo:probe"
"""String with a time to live: what a health check writes, to see whether writes are taken."""

SCHEMA = "echo:schema"
"""Hash: the number of the schema that all these keys are of, and the oldest one whose releases can use them."""

SCHEMA_LOCK = "echo:schema:lock"
"""String with a time to live: who migrates the keys to another schema."""

WORKERS = "echo:workers"
"""Set of the nodes that have announced themselves; a node without a record is gone."""


QUEUES = "echo."
"""What the names of all queues of steps begin with."""


def queue(step: str) -> str:
    """Queue of a step, which is also its routing key."""
    return f"{QUEUES}{step}"


DIRECT = f"{QUEUES}direct"
"""What all workers' own queues are together, where queues are told apart by a name."""


def direct(node: str) -> str:
    """Queue of a worker alone, for any step; scripts know it by this form (`lua/survey.lua`)."""
    return f"{DIRECT}.{node}"


def lists(queue: str) -> list[str]:
    """Lists: the messages of a queue that wait, by priority, the highest first, as kombu names them."""
    return [queue, *(f"{queue}\x06\x16{behind}" for behind in range(1, HIGHEST))]


def waiting(step: str, priority: int) -> str:
    """List: the messages of a step that wait, of one priority."""
    return lists(queue(step))[HIGHEST - priority]


def lane(step: str, priority: int) -> str:
    """Sorted set: steps whose messages were published with one priority and not claimed yet, by when they were."""
    return f"{PUBLISHED}{step}:{priority}"


def lanes(step: str) -> list[str]:
    """The lanes of a step, of all priorities."""
    return [lane(step, priority) for priority in range(1, HIGHEST + 1)]


def direct_lane(node: str) -> str:
    """Sorted set: steps that were published to a worker's own queue and not claimed yet, by when they were."""
    return f"{PUBLISHED}direct:{node}"


def of_steps() -> list[str]:
    """All that a script needs to say where a step is, in the order in which `lua/steps.lua` takes it."""
    return [LEASES, DELAYED, DEADLINES, CLAIMED, TRIALS, PUBLISHED, COUNTS]


def task(step: str) -> str:
    """Name of a step's Celery task."""
    return f"echo.{step}"


def job(job_id: str) -> str:
    """Hash: the record of a job."""
    return f"echo:job:{job_id}"


def damaged(job_id: str) -> str:
    """What a job's record was that could not be read."""
    return f"{job(job_id)}:damaged"


def events(job_id: str) -> str:
    """Stream: what happened to a job, as its clients see it."""
    return f"echo:job:{job_id}:events"


def session(session_id: str) -> str:
    """Hash: a session's times and counts, a digest of its turns, and one of its memories."""
    return f"echo:session:{session_id}"


def turns(session_id: str) -> str:
    """List: a session's latest turns, oldest first."""
    return f"echo:session:{session_id}:turns"


def line(session_id: str) -> str:
    """List: a session's jobs that have not ended, in the order of their turns; the first one runs."""
    return f"echo:session:{session_id}:line"


FOLLOWERS = ":followers"
"""What the keys of `followers` end with."""


def followers(job_id: str) -> str:
    """List: the jobs that wait for this one's answer."""
    return f"{job(job_id)}{FOLLOWERS}"


def flight(flight_id: str) -> str:
    """Hash: which of several equal jobs the others wait for, and its priority."""
    return f"echo:flight:job:{flight_id}"


def session_tag(session_id: str) -> str:
    """Tag of all cached values that know what was said in a session."""
    return f"session:{session_id}"


def memories(session_id: str) -> str:
    """Hash: a session's memories by their ids, as JSON."""
    return f"echo:session:{session_id}:memories"


def accesses(session_id: str) -> str:
    """Hash: how often and when each of a session's memories was recalled last, as `count:ID` and `last:ID`."""
    return f"echo:session:{session_id}:accesses"


def of_session(session_id: str) -> list[str]:
    """All keys that a script needs to touch a session, in the order in which `lua/session.lua` takes them."""
    named = (session, turns, line, memories, accesses)
    return [*(key(session_id) for key in named), SESSIONS]


def idempotency(key: str, owner: str = "") -> str:
    """Hash: the job that was made under a client's key, and the fingerprint of its body; each owner has his own."""
    return f"echo:idempotency-of:{owner}:{key}" if owner else f"echo:idempotency:{key}"


def access(key_id: str) -> str:
    """Hash: an API key's record."""
    return f"{ACCESS}:{key_id}"


def rate_of_key(key_id: str) -> str:
    """String with a time to live: when an API key may make all its requests again."""
    return f"echo:rate:key:{key_id}"


def rate_of_address(address: str) -> str:
    """The same of a client's address, for requests without a good key."""
    return f"echo:rate:address:{address}"


def spent(owner: str) -> str:
    """Hash with a time to live: what an owner has had of today's jobs and tokens, and which day that is."""
    return f"echo:spent:{owner}"


def worker(node: str) -> str:
    """String with a time to live: a worker's latest word about itself."""
    return f"echo:worker:{node}"


def drain(node: str) -> str:
    """String with a time to live: the worker is asked to take no new work, to finish what it has, and to end."""
    return f"echo:drain:{node}"
