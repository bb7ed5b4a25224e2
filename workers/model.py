"""The model that the settings name: its checkpoint, its vocabulary, and a word about what it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from echo_tasks.errors import CheckpointError
from echo_tasks.settings import Settings
from workers import checkpoint, tokenizer, untrained
from workers.rwkv7 import RWKV7
from workers.tokenizer import Tokenizer

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `model_id` tells its weights apart from any other's."""

    model_id: str
    name: str
    untrained: bool
    rwkv: RWKV7
    tokenizer: Tokenizer


def load(settings: Settings) -> Model:
    """Load the model once for this process. Raises CheckpointError."""
    is_untrained = settings.echo_model is None
    path = settings.echo_model or untrained.ensure(settings.echo_var / "models")
    loaded = checkpoint.load(path)
    vocabulary = tokenizer.load(settings.echo_vocab)
    if vocabulary.largest_id >= loaded.shape.vocabulary:
        raise CheckpointError(
            path, f"made for {loaded.shape.vocabulary} tokens, but the vocabulary goes to {vocabulary.largest_id}"
        )
    model = RWKV7(loaded, _DTYPES[settings.echo_dtype])
    return Model(loaded.model_id, path.stem, is_untrained, model, vocabulary)
