"""Tuned initial states: the `rwkv` package's tokens from them, prefixes of their own, clear words about bad files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from oracle import Oracle
from torch import Tensor

from echo_tasks.errors import CheckpointError, RequestRejected, SettingsError
from echo_tasks.settings import load
from workers import model as models
from workers import tuned
from workers.checkpoint import Shape
from workers.engine import Engine
from workers.membranes.prompt import Prompt
from workers.rwkv7 import RWKV7
from workers.sequence import GenerationRequest, Sampling
from workers.tokenizer import Tokenizer
from workers.tuned import Tuned

PATIENCE_S = 60
NEW_TOKENS = 12
GREEDY = Sampling(temperature=0, max_tokens=NEW_TOKENS)
PROMPT = "User: What is a tree?\n\nAssistant:"
NAME = "blocks.0.att.time_state"

MakeFile = Callable[..., Path]


def tensors(shape: Shape, seed: int = 0) -> dict[str, Tensor]:
    """What state tuning leaves: matrices with no symmetry."""
    chance = torch.Generator().manual_seed(seed)
    size = (shape.heads, 64, 64)
    return {
        f"blocks.{layer}.att.time_state": (0.3 * torch.randn(size, generator=chance)).to(torch.bfloat16)
        for layer in range(shape.layers)
    }


@pytest.fixture
def folder(tmp_path: Path, model: RWKV7) -> Path:
    """Two states of the tiny model, `one` and `two`."""
    for seed, name in enumerate(("one", "two")):
        torch.save(tensors(model.shape, seed), tmp_path / f"{name}.pth")
    return tmp_path


@pytest.fixture
def states(folder: Path, model: RWKV7) -> dict[str, Tuned]:
    return tuned.load_all(folder, model.shape, model.dtype)


def ask(engine: Engine, initial: str | None, prompt: str = PROMPT, **more: Any) -> Any:
    return engine.submit(GenerationRequest(prompt, GREEDY, initial_state=initial, **more)).result(PATIENCE_S)


@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script:DeprecationWarning")
def test_the_package_says_the_same_from_the_same_state(
    model: RWKV7, folder: Path, states: dict[str, Tuned], oracle: Oracle, tokenizer: Tokenizer, start_engine: Any
) -> None:
    """In its own layout the file's matrices are as they are; each state has tokens of its own."""
    engine, said = start_engine(model, tuned=states), []
    for name in ("one", "two", None):
        answer = ask(engine, name)
        initial = torch.load(folder / f"{name}.pth", weights_only=True) if name else None
        assert list(answer.tokens) == oracle.greedy(tokenizer, PROMPT, NEW_TOKENS, initial)
        said.append(answer.tokens)
    assert len({*said}) == 3


def test_beginnings_are_shared_by_those_alone_who_begin_alike(
    model: RWKV7, states: dict[str, Tuned], make_prefixes: Any, start_engine: Any
) -> None:
    """Another state under the old name shares nothing with the old one."""
    past = "User: One.\n\nAssistant: Two.\n\n" * 4
    prefixes = make_prefixes()
    renamed = {"one": states["two"]}
    first, second = start_engine(model, tuned=states, prefixes=prefixes), None
    plain = {name: ask(start_engine(model, tuned=states), name, past + PROMPT).tokens for name in ("one", "two", None)}
    for name in ("one", None):
        for cached in (False, True):
            answer = ask(first, name, past + PROMPT, marks=(len(past),))
            prefixes.settle()
            assert answer.tokens == plain[name]
            assert (answer.cached_tokens > 0) == cached
    first.stop()
    second = start_engine(model, tuned=renamed, prefixes=prefixes)
    answer = ask(second, "one", past + PROMPT, marks=(len(past),))
    assert (answer.tokens, answer.cached_tokens) == (plain["two"], 0)


def test_reading_ahead_is_for_one_initial_state(
    model: RWKV7, states: dict[str, Tuned], make_prefixes: Any, start_engine: Any
) -> None:
    """What was read after one is no help after another."""
    past = "User: One.\n\nAssistant: Two.\n\n" * 4
    prefixes = make_prefixes()
    engine = start_engine(model, tuned=states, prefixes=prefixes)
    engine.read(Prompt(past, (len(past),)), "one")
    assert ask(engine, "two", past + PROMPT, marks=(len(past),)).cached_tokens == 0
    prefixes.settle()
    assert ask(engine, "one", past + PROMPT, marks=(len(past),)).cached_tokens > 0


def test_an_initial_state_is_no_slot(model: RWKV7, states: dict[str, Tuned], start_engine: Any) -> None:
    """Answers change nothing of it."""
    before = states["one"].state.wkv.clone()
    engine = start_engine(model, tuned=states)
    assert ask(engine, "one").tokens == ask(engine, "one").tokens
    assert torch.equal(states["one"].state.wkv, before)


def test_a_state_that_is_not_offered_is_refused(model: RWKV7, states: dict[str, Tuned], start_engine: Any) -> None:
    """By its field, with what there is."""
    with pytest.raises(RequestRejected, match=r"^initial_state: 'three' is not offered; there are: one, two$"):
        ask(start_engine(model, tuned=states), "three")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file.pop("blocks.1.att.time_state"), r"blocks\.1\.att\.time_state is missing"),
        (
            lambda file: file.update({NAME: torch.zeros(4, 64, 64)}),
            rf"{NAME} has shape \(4, 64, 64\), not \(2, 64, 64\)",
        ),
        (
            lambda file: file.update({"blocks.2.att.time_state": torch.zeros(2, 64, 64)}),
            r"blocks\.2\.att\.time_state is no",
        ),
        (
            lambda file: file.update({NAME: torch.full((2, 64, 64), torch.nan)}),
            f"{NAME} holds what is no finite number",
        ),
        (lambda file: file.update({NAME: torch.zeros(2, 64, 64, dtype=torch.int32)}), "number format torch.int32"),
        (lambda file: file.update({NAME: "text"}), "is not a named tensor"),
    ],
    ids=["missing", "shape", "surplus", "nan", "integers", "text"],
)
def test_a_bad_file_is_named_with_what_is_wrong(
    folder: Path, model: RWKV7, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    """The key, too, where there is one."""
    file: dict[str, Any] = dict(tensors(model.shape))
    change(file)
    torch.save(file, folder / "bad.pth")
    with pytest.raises(CheckpointError, match=rf"bad\.pth: .*{reason}"):
        tuned.load_all(folder, model.shape, model.dtype)


def test_nothing_in_a_file_is_executed(folder: Path, model: RWKV7, tmp_path: Path) -> None:
    """A pickle that calls is refused."""

    class Calls:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "called",)

    torch.save(Calls(), folder / "bad.pth")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        tuned.load_all(folder, model.shape, model.dtype)
    assert not (tmp_path / "called").exists()


def test_a_name_that_no_request_can_have_is_refused(folder: Path, model: RWKV7) -> None:
    """When the worker starts, not when somebody asks."""
    torch.save(tensors(model.shape), folder / "my state.pth")
    with pytest.raises(CheckpointError, match=r"my state\.pth: its name is no name for a request"):
        tuned.load_all(folder, model.shape, model.dtype)


def test_answers_are_told_apart_by_what_the_states_hold(folder: Path, checkpoint_path: Path) -> None:
    """And by which membranes begin in them."""

    def answers_id(**more: str) -> str:
        given = {
            "ECHO_MODEL": str(checkpoint_path),
            "ECHO_INITIAL_STATES": str(folder),
            "ECHO_SLOTS": "1",
            "ECHO_THREADS": "1",
        }
        return models.load(load(given | more)).answers_id

    ids = [answers_id(), answers_id(ECHO_MEMBRANE_STATES="memory=one"), answers_id(ECHO_MEMBRANE_STATES="memory=two")]
    (folder / "one.pth").write_bytes((folder / "two.pth").read_bytes())
    ids.append(answers_id())
    assert len({*ids}) == 4


def test_a_membrane_state_without_a_file_stops_the_start(folder: Path, checkpoint_path: Path) -> None:
    """In one line that names the variable, what was given and what there is."""
    given = {
        "ECHO_MODEL": str(checkpoint_path),
        "ECHO_INITIAL_STATES": str(folder),
        "ECHO_SLOTS": "1",
        "ECHO_THREADS": "1",
    }
    with pytest.raises(SettingsError) as refusal:
        models.load(load(given | {"ECHO_MEMBRANE_STATES": "memory=one, reasoning=three"}))
    (line,) = refusal.value.problems
    assert line == (
        "ECHO_MEMBRANE_STATES='memory=one, reasoning=three' is not allowed ('three' has no file); allowed: one, two"
    )
