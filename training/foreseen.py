"""How many answers a model in training would give word for word: one pass over right conversations, no generation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.documents import chat
from training.evaluation import Case
from training.model import RWKV7
from training.rows import Document, batches
from workers.tokenizer import Tokenizer

_ROWS, _LENGTH = 8, 1024
_ANSWER_END = "\n\n"


def foreseen(model: RWKV7, cases: Sequence[Case], tokenizer: Tokenizer) -> float:
    """The share of judged answers of which each token is the model's first choice, in the bare chat form.

    That is greedy decoding's exact match, as long as the answers before it were right.
    """
    documents: list[Document] = []
    for case in cases:
        first = len(case.exchanges) - case.judged
        for last in range(first, len(case.exchanges)):
            prompt = chat(case.exchanges[:last]) + f"User: {case.exchanges[last].user}\n\nAssistant:"
            asked = tokenizer.encode(prompt)
            answer = tokenizer.encode(f" {case.exchanges[last].answer}{_ANSWER_END}")
            documents.append(Document(asked + answer, [0.0] * len(asked) + [1.0] * len(answer)))
    right = judged = 0
    device = next(model.parameters()).device
    filler = Document([1] * (_LENGTH + 1), [0.0] * (_LENGTH + 1))  # pushes the last documents out
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        for batch in batches([*documents, *[filler] * (_ROWS + 1)], _ROWS, _LENGTH):
            batch = batch.to(device)
            wrong = (model(batch.tokens, batch.fresh).argmax(-1) != batch.targets) & (batch.weights >= 1)
            number = batch.fresh.flatten().cumsum(0).view_as(batch.tokens)
            for_answers = batch.weights >= 1
            answered = number[for_answers].unique()
            failed = number[wrong].unique()
            judged += len(answered)
            right += len(answered) - len(failed)
    model.train()
    return right / max(1, judged)
