"""What a team would write first: a plain Celery app whose prefork workers call the `rwkv` package once per job.

`celery -A bench.contenders.prefork worker` takes its checkpoint, number format and broker from the environment.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch
from celery import Celery
from celery.signals import worker_process_init

BROKER, CHECKPOINT, DTYPE, THREADS = "BENCH_BROKER", "BENCH_CHECKPOINT", "BENCH_DTYPE", "BENCH_THREADS"
"""Variables of the worker's environment."""

app = Celery("prefork", broker=os.environ.get(BROKER), backend=os.environ.get(BROKER))
app.conf.worker_prefetch_multiplier = 1

_pipeline: Any = None
_arguments: Any = None


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _load(**_: Any) -> None:
    """A model a process, as the package's README loads it; each process has its share of the cores."""
    global _pipeline, _arguments
    os.environ.update(RWKV_V7_ON="1", RWKV_JIT_ON="1")
    torch.set_num_threads(int(os.environ[THREADS]))
    model = importlib.import_module("rwkv.model").RWKV(os.environ[CHECKPOINT], f"cpu {os.environ[DTYPE]}")
    utils = importlib.import_module("rwkv.utils")
    _pipeline = utils.PIPELINE(model, "rwkv_vocab_v20230424")
    _arguments = utils.PIPELINE_ARGS(temperature=1.0, top_p=0.9, alpha_frequency=0, alpha_presence=0)


@app.task(name="generate")  # type: ignore[untyped-decorator]
def generate(prompt: str, tokens: int) -> str:
    """A prompt continued by just so many tokens."""
    return str(_pipeline.generate(prompt, token_count=tokens, args=_arguments))
