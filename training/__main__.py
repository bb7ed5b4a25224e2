"""`python -m training`: from nothing to a checkpoint, a vocabulary, and what the model can do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from training import vocabulary
from training.documents import documents, samples
from training.evaluation import TASKS, cases
from training.foreseen import foreseen
from training.loop import Progress, Recipe, Trainer
from training.model import RWKV7, Size
from training.rows import Batch, batches
from training.wkv import has_kernel
from workers import tokenizer
from workers.tokenizer import Tokenizer

_SAMPLES = 6000
_PART = 100
"""The documents of so many steps have a seed of their own, so that a run resumes exactly."""


def main() -> None:
    """Train, or go on with a run that was stopped, and write the checkpoint."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    words = _vocabulary(options.folder / "echo-mini.vocab.txt", options.seed)
    trainer = _trainer(options, words)
    print(f"{trainer.size}, {words.largest_id + 1} tokens, on {trainer.device}, step {trainer.step} of {options.steps}")
    _train(trainer, words, options)
    target = options.folder / "echo-mini.pth"
    trainer.export(target)
    print(f"written: {target} ({target.stat().st_size / 1e6:.1f} MB)")


def _trainer(options: argparse.Namespace, words: Tokenizer) -> Trainer:
    torch.manual_seed(options.seed)
    size = Size(options.layers, options.width, words.largest_id + 1)
    model = RWKV7(size).to("cuda" if torch.cuda.is_available() else "cpu")
    if options.compile:
        torch.compiler.assume_constant_result(has_kernel)
        for block in model.blocks:
            block.compile()
    trainer = Trainer(model, Recipe(options.steps, min(options.practice_steps, options.steps // 2), options.rate))
    if (run := _run_of(options)).exists():
        try:
            trainer.resume(run)
        except ValueError as error:
            sys.exit(f"{error}; give another --folder")
    return trainer


def _run_of(options: argparse.Namespace) -> Path:
    """Where the run is saved."""
    return options.folder / "run.pt"  # type: ignore[no-any-return]


def _train(trainer: Trainer, words: Tokenizer, options: argparse.Namespace) -> None:
    shown = tqdm(total=options.steps, initial=trainer.step, unit="step", mininterval=options.every, file=sys.stdout)
    loss = accuracy = None

    def report(progress: Progress) -> None:
        nonlocal loss, accuracy
        loss = progress.loss if loss is None else 0.98 * loss + 0.02 * progress.loss
        accuracy = progress.accuracy if accuracy is None else 0.98 * accuracy + 0.02 * progress.accuracy
        shown.set_postfix_str(
            f"loss {loss:.4f}, accuracy {accuracy:.2%}, {progress.tokens_per_s:,.0f} tokens/s", refresh=False
        )
        shown.update()
        if progress.step % options.save_every == 0:
            trainer.save(_run_of(options))
        if progress.step % options.judge_every == 0:
            shown.write(_held_out(trainer.model, words))

    trainer.run(_feed(words, options, trainer.recipe, trainer.step), report)
    shown.close()


def _held_out(model: RWKV7, words: Tokenizer) -> str:
    shares = {task: foreseen(model, cases(task, 5 if task == "eight facts" else 40), words) for task in TASKS}
    return "held-out: " + ", ".join(f"{task} {share:.0%}" for task, share in shares.items())


def _feed(words: Tokenizer, options: argparse.Namespace, recipe: Recipe, step: int) -> Iterator[Batch]:
    """The batches from `step` on."""
    for part in count(step // _PART):
        random = Random(f"{options.seed} {part}")  # noqa: S311 - texts, no secrets
        practice = part * _PART >= recipe.practice_from
        skipped = step % _PART if part == step // _PART else 0
        yield from islice(
            batches(documents(random, words, practice=practice), options.rows, options.length), skipped, _PART
        )


def _vocabulary(path: Path, seed: int) -> Tokenizer:
    if not path.exists():
        texts = samples(Random(f"{seed} vocabulary"), _SAMPLES)  # noqa: S311 - texts, no secrets
        vocabulary.write(vocabulary.pieces(texts), path)
    return tokenizer.load(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/training"), help="where the run is kept, and resumed")
    parser.add_argument("--steps", type=int, default=17000)
    parser.add_argument("--practice-steps", type=int, default=5500, help="of these, on what is hard, at the end")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="peak learning rate")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rows", type=int, default=4, help="rows a batch")
    parser.add_argument("--length", type=int, default=1024, help="tokens a row")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between two lines of progress")
    parser.add_argument("--save-every", type=int, default=100, metavar="STEPS", help="between saves of the run")
    parser.add_argument(
        "--judge-every", type=int, default=1000, metavar="STEPS", help="between looks at held-out words"
    )
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
