"""What a worker's memory holds: the weights once, the slots' states, and little besides."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import untrained

linux_only = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="/proc/self/smaps_rollup: Linux")

SLOTS = 64
WEIGHTS = 191_084_544
"""Parameters of the 0.1B shape."""

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


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The 0.1B shape, and a small one."""
    folder = tmp_path_factory.mktemp("models")
    for name, layers, width in (("large", 12, 768), ("small", 2, 128)):
        torch.save(untrained.weights(layers=layers, width=width), folder / f"{name}.pth")
    return folder / "large.pth", folder / "small.pth"


@linux_only
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_memory_holds_the_weights_once_and_the_states(checkpoints: tuple[Path, Path], dtype: str) -> None:
    """64 slots of the 0.1B shape: at most 1.2 times the states' own bytes, and the weights once; 40 MB of tokenizer."""
    large, small = checkpoints
    run = [sys.executable, "-c", MEASURE, dtype, str(large), str(small), str(SLOTS)]
    measured = json.loads(subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout)
    weights = WEIGHTS * {"bf16": 2, "fp32": 4}[dtype]
    assert weights < measured["held"] <= weights + 1.2 * measured["states"]
    assert 0 < measured["tokenizer"] <= 40e6
