"""The training loop: Muon and AdamW with warm-up and cosine, bf16 products over fp32 weights, resumable at any step."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from training.model import RWKV7
from training.rows import Batch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained; rates are those of AdamW, and of Muon with updates as large as AdamW's.

    There are two cycles: the first over `steps - practice_steps`, the second from a lower peak again, on what
    is hard.
    """

    steps: int
    practice_steps: int = 0
    peak_rate: float = 2e-3
    practice_rate: float = 1.2e-3
    last_rate: float = 1e-4
    warm_up_steps: int = 100
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    momentum: float = 0.95
    clip_norm: float = 1.0

    @property
    def practice_from(self) -> int:
        """The step at which the second cycle begins."""
        return self.steps - self.practice_steps

    def rate(self, step: int) -> float:
        """The learning rate of a step: up in a line, then down along a cosine, and down along another."""
        if step < self.warm_up_steps:
            return self.peak_rate * (step + 1) / self.warm_up_steps
        if step < self.practice_from or not self.practice_steps:
            return self._falling(self.peak_rate, step, self.warm_up_steps, self.practice_from)
        return self._falling(self.practice_rate, step, self.practice_from, self.steps)

    def _falling(self, peak: float, step: int, start: int, end: int) -> float:
        done = min(1.0, (step - start) / max(1, end - start))
        return self.last_rate + (peak - self.last_rate) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is after a step; `left_s` is at the pace of that step."""

    step: int
    steps: int
    loss: float
    accuracy: float
    tokens_per_s: float
    left_s: float


class Trainer:
    """One model on its way through a recipe."""

    def __init__(self, model: RWKV7, recipe: Recipe) -> None:
        keep_memory()
        self.model = model
        self.recipe = recipe
        self.step = 0
        self.device = next(model.parameters()).device
        self._optimizers = _optimizers(model, recipe)

    @property
    def size(self) -> str:
        """How large the model is, in words."""
        return f"{sum(parameter.numel() for parameter in self.model.parameters()):,} parameters"

    def run(self, batches: Iterable[Batch], report: Callable[[Progress], None]) -> None:
        """Train until the recipe's last step or the batches' end; reports after every step."""
        self.model.train()
        for batch in batches:
            if self.step >= self.recipe.steps:
                return
            started = time.perf_counter()
            loss, accuracy = self._learn(batch)
            self.step += 1
            step_s = time.perf_counter() - started
            left_s = (self.recipe.steps - self.step) * step_s
            tokens_per_s = batch.tokens.numel() / step_s
            report(Progress(self.step, self.recipe.steps, loss, accuracy, tokens_per_s, left_s))

    def _learn(self, batch: Batch) -> tuple[float, float]:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.rate(self.step)
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model(batch.tokens, batch.fresh)
        loss, accuracy = _judged(logits.float(), batch)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        for optimizer in self._optimizers:
            optimizer.step()
        return loss.item(), accuracy

    def save(self, path: Path) -> None:
        """Write everything that a run needs to go on; the file is whole or the one before."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def export(self, path: Path) -> None:
        """Write the model as an official checkpoint in bf16."""
        state = {name: tensor.to("cpu", torch.bfloat16) for name, tensor in self.model.state_dict().items()}
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def resume(self, path: Path) -> None:
        """Go on where `save` was called. Raises ValueError for the run of another recipe, or of another size."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} is of another recipe: {state['recipe']}")
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise ValueError(f"{path} is of a model of another size") from error
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]


def _optimizers(model: RWKV7, recipe: Recipe) -> list[Optimizer]:
    """Muon for the matrices that map a layer's width, AdamW for all else: embedding, head, low ranks and vectors.

    Muon as of https://kellerjordan.github.io/posts/muon/, its rate scaled as of https://arxiv.org/abs/2502.16982.
    """
    maps = [layer.weight for layer in model.blocks.modules() if isinstance(layer, nn.Linear)]
    mapped = {id(matrix) for matrix in maps}
    others = [parameter for parameter in model.parameters() if id(parameter) not in mapped]
    groups = [
        {"params": [p for p in others if p.squeeze().dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in others if p.squeeze().dim() < 2], "weight_decay": 0.0},
    ]
    muon = torch.optim.Muon(
        maps,
        lr=recipe.peak_rate,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=recipe.betas, fused=True)]


def _judged(logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
    """The weighted loss, and the share of tokens of full weight that the model would have said itself."""
    losses = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    weights = batch.weights.flatten()
    loss = (losses * weights).sum() / weights.sum().clamp_min(1e-9)
    answers = batch.weights >= 1
    right = (logits.argmax(-1) == batch.targets) & answers
    return loss, float(right.sum() / answers.sum().clamp_min(1))


def keep_memory() -> None:
    """Have malloc keep large buffers instead of giving them back: their page faults cost more than half a step."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, 1 << 30)
