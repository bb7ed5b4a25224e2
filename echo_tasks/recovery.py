"""What the reaper decides, as functions of what it has read; times are in seconds of one clock."""

from __future__ import annotations

from echo_tasks.messages import JobError

MAX_LOSSES = 10
"""Messages of one step that may be lost: somebody takes them and does nothing, such as a worker told to revoke it."""


def lost_before(now: float, *, waiting: int, latest_claimed: float, publishing_s: float) -> float:
    """The moment before which messages of a lane were published in vain, if nobody has claimed their steps.

    A lane is first in, first out: a message has been taken when none waits any more, or when one was claimed that was
    published later. It is lost when that is so and nobody has claimed it. Until `publishing_s` after its publication it
    may be on its way.
    """
    on_its_way_from = now - publishing_s
    return on_its_way_from if waiting == 0 else min(on_its_way_from, latest_claimed)


def why_given_up(step: str, *, deaths: int, losses: int, max_deliveries: int) -> str | None:
    """The reason to try a step no more: workers die of it, or nobody takes it; None while there is hope."""
    if deaths >= max_deliveries:
        return f"step {step} was given up: {deaths} times the worker that ran it died or was cut off"
    if losses >= MAX_LOSSES:
        return f"step {step} was given up: {losses} of its messages were taken by nobody"
    return None


def overdue(timeout_s: int | None) -> JobError:
    """The error of a job whose time is over."""
    return JobError(reason=f"not answered within timeout_s={timeout_s}", timed_out=True)


def is_settled(now: float, *, in_touch_since: float, grace_s: float) -> bool:
    """Whether leases may be judged: after an outage their holders come first, who renew them as soon as they can."""
    return now - in_touch_since >= grace_s
