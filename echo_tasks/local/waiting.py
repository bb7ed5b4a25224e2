"""Waiting for a child's end, a signal or a moment, whichever comes first. Main thread alone; signals stay blocked."""

from __future__ import annotations

import math
import signal

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})

REPLACE = signal.SIGUSR2
"""Tells a keeper that its process is to be replaced by another one, as an update does."""

WAITED_FOR = STOPPING | {signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, REPLACE}


def block() -> None:
    """Have signals wait until they are waited for."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)


def signal_within(seconds: float) -> int:
    """The signal that came to be passed on; 0 when a child has ended, or after so many seconds, infinite for never.

    It may return 0 for no reason.
    """
    if seconds <= 0:
        return 0
    signal.setitimer(signal.ITIMER_REAL, 0 if math.isinf(seconds) else seconds)
    number = signal.sigwait(WAITED_FOR)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return 0 if number in {signal.SIGCHLD, signal.SIGALRM} else int(number)
