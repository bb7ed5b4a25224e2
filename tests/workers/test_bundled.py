"""The model that comes with the package: whole, small, found from anywhere, and the same in the `rwkv` package."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import ROOT
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

from echo_tasks.settings import load
from training.documents import prompt_of
from training.evaluation import TASKS, cases
from workers import checkpoint, model
from workers.engine import Engine
from workers.membranes.prompt import STOP
from workers.model import BUNDLED, Model
from workers.sequence import GenerationRequest, Sampling
from workers.tokenizer import END_OF_TEXT

# The package is written in TorchScript, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script:DeprecationWarning")

VOCABULARY = BUNDLED.with_suffix(".vocab.txt")
NEW_TOKENS = 32
STEPS = ("memory", "reasoning", "grammar", "integration")


@pytest.fixture(scope="module")
def bundled() -> Model:
    """The bundled model as a worker loads it."""
    return model.load(load({"ECHO_THREADS": "1"}))


@pytest.fixture(scope="module")
def engine(bundled: Model) -> Iterator[Engine]:
    engine = Engine(bundled.rwkv, bundled.tokenizer, max_prompt_tokens=32768)
    engine.start()
    yield engine
    engine.stop()


def prompts(numbers: range) -> list[str]:
    """Prompts as the membranes send them, over all tasks, on held-out words."""
    made = []
    for number in numbers:
        (case,) = cases([*TASKS][number % len(TASKS)], 1, seed=number)
        *before, last = case.exchanges
        made.append(prompt_of(STEPS[number % len(STEPS)], before[-6:], last))
    return made


def test_it_is_small_and_complete() -> None:
    """Weights in bf16 of at most 10 MB in the official layout, a vocabulary, and a card that tells what it is."""
    assert BUNDLED.stat().st_size <= 10_000_000
    loaded = checkpoint.load(BUNDLED)
    assert {tensor.dtype for tensor in loaded.tensors.values()} == {torch.bfloat16}
    card = (BUNDLED.parent / "README.md").read_text()
    for word in ("Data", "Licence", "Training", "Accuracy", "Limits", *TASKS):
        assert word.lower() in card.lower()
    assert "@@" not in card


def test_without_settings_it_is_the_model(bundled: Model) -> None:
    """A farm that is given no checkpoint serves it, with its own vocabulary."""
    assert bundled.name == "echo-mini"
    assert bundled.tokenizer.largest_id + 1 == bundled.rwkv.shape.vocabulary < 2000
    assert bundled.tokenizer.undecodable(bundled.rwkv.shape.vocabulary) == []


def test_a_vocabulary_beside_a_checkpoint_is_its_own(tmp_path: Path) -> None:
    """`NAME.vocab.txt` belongs to `NAME.pth`; ECHO_VOCAB comes first."""
    path = tmp_path / "other.pth"
    path.write_bytes(BUNDLED.read_bytes())
    (tmp_path / "other.vocab.txt").write_text(VOCABULARY.read_text())
    assert model.load(load({"ECHO_MODEL": str(path), "ECHO_THREADS": "1"})).tokenizer.largest_id < 2000
    with pytest.raises(checkpoint.CheckpointError, match="cannot be read"):
        model.load(load({"ECHO_MODEL": str(path), "ECHO_VOCAB": str(tmp_path / "missing.txt")}))
    (tmp_path / "other.vocab.txt").unlink()
    with pytest.raises(checkpoint.CheckpointError, match="the vocabulary goes to 655"):
        model.load(load({"ECHO_MODEL": str(path), "ECHO_THREADS": "1"}))


@pytest.mark.parametrize(
    "numbers", [range(0, 14), pytest.param(range(14, 50), marks=pytest.mark.long)], ids=["some", "all others"]
)
def test_the_package_gives_the_same_greedy_text(engine: Engine, numbers: range) -> None:
    """The `rwkv` package, with this checkpoint and vocabulary, writes what the engine writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RWKV_V7_ON", "1")
        oracle = importlib.import_module("rwkv.model").RWKV(str(BUNDLED.with_suffix("")), "cpu fp32")
    words = TRIE_TOKENIZER(str(VOCABULARY))
    sampling = Sampling(NEW_TOKENS, temperature=0, stop=tuple(text.encode() for text in STOP))
    for prompt in prompts(numbers):
        ours = engine.submit(GenerationRequest(prompt, sampling)).result(60)
        assert ours.text == greedy(oracle, words, prompt), prompt


def greedy(oracle: Any, words: Any, prompt: str) -> str:
    logits, state = oracle.forward(words.encode(prompt), None)
    tokens: list[int] = []
    while len(tokens) < NEW_TOKENS and (token := int(logits.argmax())) != END_OF_TEXT:
        tokens.append(token)
        logits, state = oracle.forward([token], state)
    text = b"".join(words.idx2token[token] for token in tokens).decode(errors="replace")
    return min((text.split(stop)[0] for stop in STOP), key=len)


@pytest.mark.parametrize(
    "text",
    [
        "👩‍👩‍👧‍👦 🇯🇵 👍🏽",
        "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。",
        "Привет, как дела? مرحبا नमस्ते",
        "\x00\x01\x07\x1b[31m\x7f\u200b\ufeff\u202e",
        "System: User: Assistant:\n\nUser:\n\nAssistant: what",
        "}{}{ SELECT * FROM users; --",
        "a" * 3000,
        "word " * 2000,
    ],
)
def test_any_text_is_answered(engine: Engine, bundled: Model, text: str) -> None:
    """What is far outside the domain gets some answer, whole characters only, and breaks nothing."""
    prompt = f"User: {text}\n\nAssistant:"
    answer = engine.submit(GenerationRequest(prompt, Sampling(24, temperature=0))).result(100)
    assert answer.text.encode()
    assert engine.submit(GenerationRequest("User: Hello!\n\nAssistant:", Sampling(24, temperature=0))).result(60).text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel, built from a copy of the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    left_out = (".*", "var", "build", "dist", "*.egg-info", "tests", "docs", "clouds", "__pycache__")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*left_out))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    built = subprocess.run([sys.executable, "-c", build, folder], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_brings_it_and_all_modules(wheel: Path) -> None:
    """The model, its vocabulary and its card, and every module of the packages that are said to be in it."""
    names = {*zipfile.ZipFile(wheel).namelist()}
    assert {f"workers/checkpoints/echo-mini/{name}" for name in (BUNDLED.name, VOCABULARY.name, "README.md")} <= names
    tops = {name.partition("/")[0] for name in names if name.endswith("/__init__.py")}
    modules = {str(path.relative_to(ROOT)) for top in tops for path in (ROOT / top).rglob("*.py")}
    assert {"workers", "echo_api", "echo_tasks", "cache"} <= tops
    assert modules <= names


@pytest.mark.long
def test_any_folder_finds_it(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the package has its model, whatever folder it is started from."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    check = "from workers import model; from echo_tasks.settings import load; print(model.load(load({})).name)"
    found = subprocess.run(
        [sys.executable, "-c", check],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "echo-mini", found.stderr
