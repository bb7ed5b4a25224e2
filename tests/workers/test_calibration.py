"""How many threads a worker has: by a measurement, which is made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import untrained
from workers import calibration, checkpoint
from workers.calibration import chosen
from workers.rwkv7 import RWKV7


@pytest.mark.parametrize(
    ("step_ms", "count"),
    [
        ({1: 2.0, 2: 1.9}, 1),
        ({1: 2.0, 2: 1.1}, 2),
        ({1: 2.0, 2: 1.45}, 1),
        ({1: 2.0, 2: 1.0, 4: 0.6, 8: 0.5}, 4),
        ({1: 2.0, 2: 1.5, 4: 0.6}, 4),
        ({1: 2.0}, 1),
    ],
)
def test_threads_are_as_many_as_do_their_share(step_ms: dict[int, float], count: int) -> None:
    """At least seven tenths each of what one does alone."""
    assert chosen(step_ms) == count


@pytest.fixture
def model(tmp_path: Path) -> RWKV7:
    """A small model that may have two threads."""
    path = tmp_path / "small.pth"
    torch.save(untrained.weights(), path)
    made = RWKV7(checkpoint.load(path), torch.float32, slots=4)
    made.threads = 2
    return made


def test_it_is_measured_once(model: RWKV7, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next worker reads it; another model, or what cannot be read, is measured. All slots are free again."""
    monkeypatch.setattr(calibration, "BUDGET_S", 0.0)
    kept = tmp_path / "run" / "threads.json"
    choice = calibration.threads(model, kept, "one")
    assert (choice.setting, choice.value) == ("ECHO_THREADS", str(model.threads))
    assert "ms on 1, " in choice.reason
    assert len([model.slots.take() for _ in range(4)]) == 4
    model.threads = 2
    (known,) = json.loads(kept.read_text()).values()
    assert set(known) == {"1", "2"}

    def never(*_: object) -> dict[int, float]:
        raise AssertionError("it is measured again")

    monkeypatch.setattr(calibration, "measured", never)
    assert calibration.threads(model, kept, "one") == choice
    model.threads = 2
    with pytest.raises(AssertionError, match="again"):
        calibration.threads(model, kept, "another")
    kept.write_text("half a")
    with pytest.raises(AssertionError, match="again"):
        calibration.threads(model, kept, "one")


def test_a_folder_that_cannot_be_written_costs_the_next_measurement(
    model: RWKV7, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else."""
    monkeypatch.setattr(calibration, "BUDGET_S", 0.0)
    (tmp_path / "run").write_text("no folder")
    assert calibration.threads(model, tmp_path / "run" / "threads.json", "one").value in {"1", "2"}
