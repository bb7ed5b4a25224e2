"""A worker whose engine makes at most twenty tokens a second for each sequence, whatever the machine's speed.

`celery -A echo_tasks worker -I tests.farm.unhurried`. A step that must last for some time does so without using a
processor meanwhile: 20 tokens for each second.
"""

from __future__ import annotations

import time

from workers.engine import Engine

STEP_S = 0.05

_step = Engine._step


def step(self: Engine) -> None:
    """A step of the engine, and a pause."""
    _step(self)
    time.sleep(STEP_S)


Engine._step = step  # type: ignore[method-assign]
