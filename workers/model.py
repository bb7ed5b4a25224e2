"""The model that the settings name: its checkpoint, its vocabulary, and a word about what it is."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from echo_tasks import machine
from echo_tasks.errors import CheckpointError, NoRoom, SettingsError
from echo_tasks.machine import GIB, Memory
from echo_tasks.settings import Settings
from workers import calibration, checkpoint, choosing, engine, membranes, tokenizer, tuned
from workers.checkpoint import Checkpoint
from workers.choosing import Choice, Dtype
from workers.fused import products
from workers.rwkv7 import RWKV7
from workers.slots import Slots
from workers.tokenizer import Tokenizer
from workers.tuned import Tuned

BUNDLED = Path(__file__).parent / "checkpoints" / "echo-mini" / "echo-mini.pth"
"""The small model that comes with the package, for a farm that is given none."""

PREFILL_TOKENS = 256
"""Tokens of prompts that are fed in a step while nobody generates."""

_M_MMAP_THRESHOLD = -3
"""Of glibc's `mallopt`: bytes from which memory is taken from the system, and given back, by itself."""

_DTYPES: Mapping[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model, and what was chosen for it where no setting said otherwise.

    `model_id` tells its weights and vocabulary apart from any other's; `answers_id` tells apart all that
    decides an answer besides the job: these, the number formats, the membranes' templates, and all initial states.
    """

    model_id: str
    answers_id: str
    name: str
    rwkv: RWKV7
    tokenizer: Tokenizer
    tuned: Mapping[str, Tuned]
    dtype: Dtype
    choices: Sequence[Choice] = ()


def load(settings: Settings, slots: int | None = None) -> Model:
    """Load the model once for this process, with so many slots, or ECHO_SLOTS, or as many as it has room for.

    Raises CheckpointError, SettingsError for what this machine lacks, and NoRoom for what others have taken. It loads
    in a thread of its own, with which its OpenMP threads end: as soon as a process has more of these than cores,
    libgomp has them sleep at every barrier instead of spinning, and the engine's step takes half as long again.
    """
    device = _device(settings)
    torch.set_num_threads(settings.echo_threads or machine.cores())
    with ThreadPoolExecutor(1) as loader, _weights_in_pages_of_their_own():
        return loader.submit(_load, settings, device, slots or settings.echo_slots).result()


@contextmanager
def _weights_in_pages_of_their_own() -> Iterator[None]:
    """Have glibc give back what loading has freed: left to itself it keeps up to 65 MB of it for a 0.1B in fp32."""
    c = ctypes.CDLL(None)
    if not hasattr(c, "mallopt") or not hasattr(c, "malloc_trim"):
        yield
        return
    c.mallopt(_M_MMAP_THRESHOLD, 1 << 20)
    try:
        yield
    finally:
        c.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # where its own adjustments would have ended
        c.malloc_trim(0)


def _device(settings: Settings) -> str:
    has_gpu = torch.cuda.is_available()
    device = settings.echo_device or ("cuda" if has_gpu else "cpu")
    if device == "cuda" and not has_gpu:
        raise SettingsError(["ECHO_DEVICE='cuda' is not allowed here (torch sees no CUDA GPU); allowed: cpu"])
    if device == "cpu" and settings.echo_dtype == "fp16":
        raise SettingsError(["ECHO_DTYPE='fp16' is not allowed on a CPU; allowed: fp32 or bf16"])
    return device


def _load(settings: Settings, device: str, asked: int | None) -> Model:
    path = settings.echo_model or BUNDLED
    loaded = checkpoint.load(path)
    vocabulary = tokenizer.load(settings.echo_vocab or _vocabulary_beside(path))
    if vocabulary.largest_id >= loaded.shape.vocabulary:
        raise CheckpointError(
            path,
            f"made for {loaded.shape.vocabulary} tokens, but the vocabulary goes to {vocabulary.largest_id}",
        )
    dtype, choices = _dtype(settings, loaded, device)
    slots, less = _slots(loaded, dtype, device, asked)
    model = RWKV7(
        loaded,
        _DTYPES[dtype],
        slots=slots,
        max_tokens=max(PREFILL_TOKENS, 2 * slots + engine.PREFILL_TOKENS),
        kernels=settings.echo_kernels,
        device=device,
    )
    model_id = _id(loaded.digest, vocabulary.digest)
    states = _initial_states(settings, model)
    by_step = " ".join(f"{step}={name}" for step, name in sorted(settings.states_by_step.items()))
    formats = f"{dtype} {settings.echo_state_format}"
    answers_id = _id(model_id, formats, membranes.fingerprint(), tuned.digests(states), by_step)
    if settings.echo_threads is None and model.threads > 1:
        less = [*less, calibration.threads(model, settings.echo_var / "run" / "threads.json", model_id)]
    return Model(model_id, answers_id, path.stem, model, vocabulary, states, dtype, [*choices, *less])


def _dtype(settings: Settings, loaded: Checkpoint, device: str) -> tuple[Dtype, list[Choice]]:
    if settings.echo_dtype is not None:
        return settings.echo_dtype, []
    names = {torch_dtype: name for name, torch_dtype in _DTYPES.items()}
    stored = names.get(loaded.tensors["emb.weight"].dtype, "fp32")
    choice = choosing.dtype(stored, has_bf16=products.has_bf16(), is_gpu=device == "cuda")
    return cast("Dtype", choice.value), [choice]


def _slots(loaded: Checkpoint, dtype: Dtype, device: str, asked: int | None) -> tuple[int, list[Choice]]:
    """How many slots there may be beside the weights. Raises SettingsError and NoRoom where these do not fit."""
    size = _DTYPES[dtype].itemsize
    weights = size * sum(tensor.numel() for tensor in loaded.tensors.values())
    memory = Memory(*reversed(torch.cuda.mem_get_info())) if device == "cuda" else machine.memory()
    told = f"model {loaded.path}: its weights in {dtype} take {weights / GIB:.1f} GiB"
    if weights > memory.usable:
        raise SettingsError([f"{told}, and workers may take {memory.usable / GIB:.1f} of {memory.total / GIB:.1f} GiB"])
    if weights > memory.free:
        raise NoRoom(f"{told}, and {memory.free / GIB:.1f} GiB are free")
    state = Slots.bytes_of_one(loaded.shape, _DTYPES[dtype])
    slots, choice = choosing.slots(asked, state_bytes=state, free_bytes=memory.free - weights)
    return slots, [choice] if choice else []


def _initial_states(settings: Settings, model: RWKV7) -> Mapping[str, Tuned]:
    folder = settings.echo_initial_states
    states = tuned.load_all(folder, model.shape, model.dtype) if folder else {}
    if unknown := sorted({*settings.states_by_step.values()} - states.keys()):
        given, there = settings.echo_membrane_states, ", ".join(states) or "none, without ECHO_INITIAL_STATES"
        raise SettingsError(
            [f"ECHO_MEMBRANE_STATES={given!r} is not allowed ({unknown[0]!r} has no file); allowed: {there}"]
        )
    return states


def _vocabulary_beside(path: Path) -> Path | None:
    """`NAME.vocab.txt` beside `NAME.pth`; None where there is none, which is World's sign."""
    beside = path.with_suffix(".vocab.txt")
    return beside if beside.is_file() else None


def _id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
