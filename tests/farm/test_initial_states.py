"""Tuned initial states through a whole farm: asked for by name, told apart in the cache by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from processes import Site

from echo_tasks.errors import EX_CONFIG, SettingsError, exit_misconfigured
from echo_tasks.settings import load
from workers import checkpoint, model
from workers.model import BUNDLED

pytestmark = pytest.mark.farm

TEXT = "What is two plus three?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two states for the bundled model, under one name by turns."""
    shape, made = checkpoint.load(BUNDLED).shape, tmp_path / "states"
    made.mkdir()
    write(made / "poet.pth", shape, seed=1)
    return made


def write(path: Path, shape: checkpoint.Shape, seed: int) -> None:
    """Numbers so large that the model cannot make up for them."""
    chance = torch.Generator().manual_seed(seed)
    size = (shape.heads, 64, 64)
    torch.save(
        {f"blocks.{n}.att.time_state": 50 * torch.randn(size, generator=chance) for n in range(shape.layers)},
        path,
    )


def say(site: Site, initial: str | None) -> dict[str, Any]:
    options = {"temperature": 0, "max_tokens": 24, "initial_state": initial, "membranes": ["memory"]}
    answer = site.post("/api/cognitive/process", {"input_text": TEXT, "processing_options": options})
    assert answer.status == 200, answer.body
    result: dict[str, Any] = answer.json
    return result


@pytest.mark.timeout(240)
def test_a_job_begins_in_the_state_that_it_names(tmp_path: Path, folder: Path) -> None:
    """It answers otherwise, from the cache the second time, and anew when the file under the name is another."""
    site = Site(tmp_path)
    env = {"ECHO_INITIAL_STATES": str(folder)}
    with site.server("broker"), site.server("store"), site.http():
        with site.worker(env=env, name="first"):
            plain, first, again = (say(site, name) for name in (None, "poet", "poet"))
            refused = site.post("/api/jobs", {"input_text": TEXT, "options": {"initial_state": "nobody"}})
        write(folder / "poet.pth", checkpoint.load(BUNDLED).shape, seed=2)
        with site.worker(env=env | {"ECHO_MEMBRANE_STATES": "memory=poet"}, name="second"):
            other = say(site, "poet")
    assert first["membrane_outputs"] != plain["membrane_outputs"]
    assert (again["response_text"], again["cache_hit"]) == (first["response_text"], True)
    assert (other["cache_hit"], other["membrane_outputs"] != first["membrane_outputs"]) == (False, True)
    assert refused.status == 422
    assert [error["field"] for error in refused.json["errors"]] == ["options.initial_state"]


def test_a_state_that_has_no_file_is_told_of_in_a_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As all that a worker cannot start with: with status 78."""
    names = {"ECHO_INITIAL_STATES": str(folder), "ECHO_MEMBRANE_STATES": "memory=nobody"}
    with pytest.raises(SettingsError) as refused:
        model.load(load(names), 2)
    with pytest.raises(SystemExit) as ended:
        exit_misconfigured(refused.value)
    assert ended.value.code == EX_CONFIG
    assert capfd.readouterr().err.splitlines()[-1] == (
        "echo: ECHO_MEMBRANE_STATES='memory=nobody' is not allowed ('nobody' has no file); allowed: poet"
    )
