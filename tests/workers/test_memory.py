"""What a worker's memory holds: the weights once, the slots' states, and little besides."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import untrained
from workers.model import BUNDLED

linux_only = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="/proc/self/smaps_rollup: Linux")

SLOTS = 64
HALF = {"layers": 12, "width": 512, "vocabulary": 2048}
"""As deep as the 0.1B shape, but narrower and with few tokens: a quarter of the weights to make and load."""
WHOLE = {"layers": 12, "width": 768, "vocabulary": 65536}
"""The 0.1B shape."""

MEASURE = """
import ctypes, gc, json, sys
from pathlib import Path
from echo_tasks import settings
from workers import model, tokenizer
from workers.batch import Batch, Segment

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what has been given back is the C library's to keep, and no longer held
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))

def load(path, slots):
    given = {"echo_model": Path(path), "echo_dtype": dtype, "echo_slots": slots}
    rwkv = model.load(settings.Settings().model_copy(update=given)).rwkv
    rwkv.forward(Batch(tuple(Segment(rwkv.slots.take(), (100,)) for _ in range(slots))))
    return rwkv

dtype, large, small, slots = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
before = resident()
vocabulary = tokenizer.load(None)
tokens = resident() - before
load(small, 2)  # torch's own, and the kernels'
before = resident()
rwkv = load(large, slots)
print(json.dumps({"held": resident() - before, "states": rwkv.slots.bytes, "tokenizer": tokens}))
"""


def saved(path: Path, **shape: int) -> int:
    """Write a model of this shape; tells how many numbers its weights are."""
    weights = untrained.weights(**shape)
    torch.save(weights, path)
    if shape["vocabulary"] < untrained.VOCABULARY:
        shutil.copy(BUNDLED.with_suffix(".vocab.txt"), path.with_suffix(".vocab.txt"))
    return sum(tensor.numel() for tensor in weights.values())


@linux_only
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("shape", [HALF, pytest.param(WHOLE, marks=pytest.mark.long)], ids=["half", "0.1B"])
def test_memory_holds_the_weights_once_and_the_states(tmp_path: Path, shape: dict[str, int], dtype: str) -> None:
    """64 slots: at most 1.2 times the states' own bytes, and the weights once; 40 MB of tokenizer."""
    large, small = tmp_path / "large.pth", tmp_path / "small.pth"
    weights = saved(large, **shape) * {"bf16": 2, "fp32": 4}[dtype]
    saved(small, layers=2, width=128, vocabulary=2048)
    run = [sys.executable, "-c", MEASURE, dtype, str(large), str(small), str(SLOTS)]
    measured = json.loads(subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout)
    assert weights < measured["held"] <= weights + 1.2 * measured["states"]
    assert 0 < measured["tokenizer"] <= 40e6
