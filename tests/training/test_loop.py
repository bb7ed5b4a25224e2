"""The loop learns, goes on where it stopped, and is fed every document whole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.loop import Progress, Recipe, Trainer
from training.model import RWKV7, Size
from training.rows import Batch, Document, batches

SIZE = Size(layers=2, width=64, vocabulary=32, low_rank=16)
BEGIN, AGAIN = 1, 2


def copies(seed: int) -> Iterator[Document]:
    """Documents that say a few tokens, and then say them again: what a recurrence has to remember."""
    choose = random.Random(seed)
    while True:
        said = [choose.randrange(3, 32) for _ in range(4)]
        yield Document([BEGIN, *said, AGAIN, *said], [0.0] * 6 + [1.0] * 4)


def trained(steps: int, stop_at: int | None = None, folder: Path | None = None) -> tuple[Trainer, list[Progress]]:
    """A run of `steps`, in one go or stopped, saved and resumed on the way."""
    torch.manual_seed(0)
    recipe = Recipe(steps=steps, peak_rate=5e-3, warm_up_steps=5)
    trainer, seen = Trainer(RWKV7(SIZE), recipe), []
    feed = batches(copies(1), 8, 64)
    if stop_at is not None:
        assert folder is not None
        trainer.run(islice(feed, stop_at), seen.append)
        trainer.save(folder / "run")
        trainer = Trainer(RWKV7(SIZE), recipe)
        trainer.resume(folder / "run")
    trainer.run(feed, seen.append)
    return trainer, seen


def test_the_loss_falls_and_the_task_is_learned() -> None:
    """A small model learns to copy within a few hundred steps."""
    _, seen = trained(250)
    assert [progress.step for progress in seen] == list(range(1, 251))
    assert seen[0].accuracy < 0.2
    assert seen[-1].loss < seen[0].loss / 3
    assert sum(progress.accuracy for progress in seen[-10:]) / 10 > 0.9


def test_a_resumed_run_is_the_straight_one(tmp_path: Path) -> None:
    """Stopped, saved, loaded into another model and gone on with, the run's losses are the same."""
    _, straight = trained(12)
    resumed, seen = trained(12, stop_at=5, folder=tmp_path)
    assert resumed.step == 12
    assert [progress.loss for progress in seen] == pytest.approx([progress.loss for progress in straight], rel=1e-3)


def test_a_run_of_another_recipe_is_refused(tmp_path: Path) -> None:
    """A saved run goes on with its own recipe only."""
    trainer, _ = trained(1)
    trainer.save(tmp_path / "run")
    with pytest.raises(ValueError, match="another recipe"):
        Trainer(RWKV7(SIZE), Recipe(steps=2)).resume(tmp_path / "run")


def test_the_rate_rises_once_more_for_practice() -> None:
    """The second cycle begins at its own peak where the first has ended, and ends as low."""
    recipe = Recipe(steps=100, practice_steps=40, peak_rate=1.0, practice_rate=0.5, last_rate=0.1, warm_up_steps=10)
    rates = [recipe.rate(step) for step in range(101)]
    assert recipe.practice_from == 60
    assert rates[59] == pytest.approx(0.1, abs=0.01)
    assert max(rates[60:]) == rates[60] == pytest.approx(0.5)
    assert all(one >= other for one, other in pairwise(rates[60:]))
    assert rates[100] == pytest.approx(0.1)


def test_the_rate_rises_and_falls() -> None:
    """Up in a line to the peak, then down to the last rate and no further."""
    recipe = Recipe(steps=100, peak_rate=1.0, last_rate=0.1, warm_up_steps=10)
    rates = [recipe.rate(step) for step in range(120)]
    assert rates[4] == pytest.approx(0.5)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert all(one >= other for one, other in pairwise(rates[10:]))
    assert rates[100] == rates[119] == pytest.approx(0.1)


DOCUMENTS = st.lists(
    st.lists(st.tuples(st.integers(1, 99), st.sampled_from([0.25, 1.0, 2.0])), min_size=2, max_size=12).map(
        lambda pairs: Document([token for token, _ in pairs], [weight for _, weight in pairs])
    ),
    max_size=30,
)


@given(documents=DOCUMENTS, rows=st.integers(1, 3), length=st.integers(4, 15))
def test_packing_keeps_documents_whole_and_apart(documents: list[Document], rows: int, length: int) -> None:
    """Read back by where documents begin, the rows hold the documents in order, each with its own weights."""
    made = list(batches(documents, rows, length))
    found = [document for batch in made for document in _documents(batch)]
    assert found == [_cut(document, length) for document in documents[: len(found)]]
    assert len(documents) - len(found) <= rows * (length + 1)


def _cut(document: Document, length: int) -> Document:
    return Document(document.tokens[: length + 1], [0.0, *document.weights[1 : length + 1]])


def _documents(batch: Batch) -> Iterator[Document]:
    for tokens, targets, weights, fresh in zip(batch.tokens, batch.targets, batch.weights, batch.fresh, strict=True):
        whole = [*tokens.tolist(), int(targets[-1])]
        counts = [0.0, *weights.tolist()]
        starts = [*(fresh.nonzero().flatten().tolist()), len(whole)]
        for start, end in pairwise(starts):
            said = [token for token in whole[start:end] if token]  # 0 fills what is left of a row
            if said:
                yield Document(said, [0.0, *counts[start + 1 : start + len(said)]])
