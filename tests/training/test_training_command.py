"""`python -m training`: a small run learns, survives being killed, and leaves a checkpoint that serves."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, until

from echo_tasks.settings import Settings
from workers import model
from workers.engine import Engine
from workers.sequence import GenerationRequest, Sampling

SMALL = [
    "--layers",
    "2",
    "--width",
    "64",
    "--rows",
    "2",
    "--length",
    "256",
    "--no-compile",
    "--every",
    "0",
    "--practice-steps",
    "20",
]


def command(folder: Path, steps: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "training", "--folder", str(folder), "--steps", str(steps), *SMALL, *more]


def losses(text: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"loss ([\d.]+)", text)]


@pytest.mark.timeout(300)
def test_a_small_run_learns_and_its_checkpoint_serves(tmp_path: Path) -> None:
    """The loss falls, progress tells it and the time left, held-out words are judged, and the result serves."""
    done = subprocess.run(
        command(tmp_path, 150, "--judge-every", "100"), cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = losses(done.stdout)
    assert seen[-1] < 0.6 * seen[0]
    assert re.search(r"\d+/150 \[.*<.*loss [\d.]+, accuracy [\d.]+%, [\d,]+ tokens/s", done.stdout)
    assert re.search(r"held-out: recall \d+%, .*sums and differences \d+%", done.stdout)
    loaded = model.load(Settings(echo_model=tmp_path / "echo-mini.pth"))
    assert loaded.tokenizer.largest_id + 1 == loaded.rwkv.shape.vocabulary
    engine = Engine(loaded.rwkv, loaded.tokenizer, max_prompt_tokens=64)
    engine.start()
    try:
        answer = engine.submit(GenerationRequest("User: Hello!\n\nAssistant:", Sampling(8, temperature=0)))
        assert answer.result(60).tokens
    finally:
        engine.stop()


@pytest.mark.timeout(300)
def test_a_killed_run_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    """After SIGKILL the same command resumes from the last save; another recipe's is refused in a line."""
    shutil.copy(model.BUNDLED.with_suffix(".vocab.txt"), tmp_path / "echo-mini.vocab.txt")  # making one takes seconds
    first = subprocess.Popen([*command(tmp_path, 60), "--save-every", "5"], cwd=ROOT, stdout=subprocess.DEVNULL)
    until((tmp_path / "run.pt").exists, "the first save", 200)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = subprocess.run(command(tmp_path, 60), cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    started = int(re.search(r"step (\d+) of 60", done.stdout)[1])  # type: ignore[index]
    assert started in range(5, 60, 5)
    assert (tmp_path / "echo-mini.pth").stat().st_size < 1_000_000
    assert not list(tmp_path.glob("*.part"))
    shutil.copy(tmp_path / "echo-mini.pth", tmp_path / "before.pth")
    done = subprocess.run(command(tmp_path, 61), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "is of another recipe" in done.stderr
    assert (tmp_path / "echo-mini.pth").read_bytes() == (tmp_path / "before.pth").read_bytes()
