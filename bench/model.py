"""`python -m bench model`: how many answers of a checkpoint are right, by task, on words it has never seen."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.machine import described
from echo_tasks import settings
from echo_tasks.errors import CheckpointError
from echo_tasks.messages import Turn
from training.evaluation import TASKS, cases
from training.judging import MAX_TOKENS, Chat, Membranes, Speaker, judge
from workers import model
from workers.engine import Engine


class Farm:
    """A running farm, through `POST /api/cognitive/process`: it knows the sessions' turns itself."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/api"

    def answer(self, session: str, history: Sequence[Turn], text: str) -> str:
        options = {"temperature": 0, "max_tokens": MAX_TOKENS, "cache": False}
        body = {"session_id": session, "input_text": text, "processing_options": options}
        return str(json.loads(self._ask("POST", "/cognitive/process", json.dumps(body).encode()))["response_text"])

    def leave(self, session: str) -> None:
        """Make room: only so many sessions may live at a time."""
        self._ask("DELETE", f"/sessions/{session}")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310 - the user's URL
        with urllib.request.urlopen(request, timeout=300) as reply:  # noqa: S310
            return bytes(reply.read())


def main(arguments: Sequence[str]) -> None:
    """Judge, and print the table."""
    options = _options(arguments)
    speaker, name = _speaker(options)
    print(f"{name}; {options.cases} conversations a task, seed {options.seed}, greedy; {described()}")
    print(f"{'task':24} {'right':>7} {'of':>6} {'share':>8}", flush=True)
    for task in options.tasks:
        prefix = f"bench-{time.time_ns()}-"
        judged = judge(cases(task, options.cases, options.seed), speaker, prefix=prefix, at_once=options.at_once)
        right = sum(judgement.right for judgement in judged)
        print(f"{task:24} {right:7} {len(judged):6} {right / len(judged):8.1%}", flush=True)
        for judgement in judged:
            if options.wrong and not judgement.right:
                print(f"  {judgement.question}\n    right:  {judgement.expected}\n    answer: {judgement.answer}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench model", description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="conversations a task")
    parser.add_argument("--seed", type=int, default=0, help="of the cases")
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS], metavar="TASK")
    parser.add_argument("--chat", action="store_true", help="the model by itself, without membranes")
    parser.add_argument("--api", metavar="URL", help="a running farm, instead of an engine of this process")
    parser.add_argument("--model", type=Path, help="checkpoint; default: that of the settings")
    parser.add_argument("--vocab", type=Path, help="its vocabulary")
    parser.add_argument("--at-once", type=int, default=4, help="conversations at a time")
    parser.add_argument("--wrong", action="store_true", help="print every wrong answer")
    return parser.parse_args(arguments)


def _speaker(options: argparse.Namespace) -> tuple[Speaker, str]:
    if options.api:
        return Farm(options.api), options.api
    given = {name: path for name in ("model", "vocab") if (path := getattr(options, name))}
    chosen = settings.current().model_copy(update={f"echo_{name}": path for name, path in given.items()})
    try:
        loaded = model.load(chosen)
    except CheckpointError as error:
        sys.exit(str(error))
    engine = Engine(loaded.rwkv, loaded.tokenizer, max_prompt_tokens=chosen.echo_max_prompt_tokens)
    engine.start()
    return (Chat if options.chat else Membranes)(engine), f"{loaded.name} ({loaded.model_id})"
