"""Asking a model, conversation by conversation, and counting the answers that are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from echo_tasks.keys import INTEGRATION, MEMBRANES
from echo_tasks.messages import JobSpec, StepOutput, Turn
from training.evaluation import Case
from workers import membranes
from workers.engine import Engine
from workers.membranes.prompt import STOP
from workers.sequence import Generation, GenerationRequest, Sampling

MAX_TOKENS = 128


class Speaker(Protocol):
    """Somebody who answers the next text of a conversation. Threads may share it."""

    def answer(self, session: str, history: Sequence[Turn], text: str) -> str:
        """What is said to `text` after the turns of `history`."""

    def leave(self, session: str) -> None:
        """The conversation is over."""


class Membranes:
    """The membranes and integration, greedily, on an engine of this process: what a farm answers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def leave(self, session: str) -> None:
        """Nothing was kept of it."""

    def answer(self, session: str, history: Sequence[Turn], text: str) -> str:
        spec = JobSpec(job_id="", session_id="s", input_text=text)
        running = {name: self._ask(name, spec, history, {}) for name in MEMBRANES}
        outputs: dict[str, StepOutput] = {
            name: StepOutput(text=generation.result().text.strip()) for name, generation in running.items()
        }
        return self._ask(INTEGRATION, spec, history, outputs).result().text.strip()

    def _ask(
        self, step: str, spec: JobSpec, history: Sequence[Turn], outputs: Mapping[str, StepOutput]
    ) -> Future[Generation]:
        prompt, *_ = membranes.named(step).prompts(spec, history, outputs)
        sampling = Sampling(MAX_TOKENS, temperature=0, stop=tuple(text.encode() for text in STOP))
        return self._engine.submit(GenerationRequest(prompt.text, sampling, marks=prompt.marks))


class Chat:
    """The model by itself, greedily, in the bare chat form."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def leave(self, session: str) -> None:
        """Nothing was kept of it."""

    def answer(self, session: str, history: Sequence[Turn], text: str) -> str:
        said = "".join(f"User: {turn.user}\n\nAssistant: {turn.assistant}\n\n" for turn in history)
        sampling = Sampling(MAX_TOKENS, temperature=0, stop=(b"\n\n",))
        request = GenerationRequest(f"{said}User: {text}\n\nAssistant:", sampling)
        return self._engine.submit(request).result().text.strip()


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer, and the right one."""

    question: str
    expected: str
    answer: str

    @property
    def right(self) -> bool:
        return self.answer == self.expected


def judge(cases: Sequence[Case], speaker: Speaker, *, prefix: str = "", at_once: int = 4) -> list[Judgement]:
    """Every judged answer of the cases; `prefix` starts the names of their sessions."""
    sessions = [f"{prefix}{number}" for number in range(len(cases))]
    with ThreadPoolExecutor(at_once) as pool:
        judged = pool.map(lambda case, session: list(_judged(case, speaker, session)), cases, sessions)
        return [judgement for of_case in judged for judgement in of_case]


def _judged(case: Case, speaker: Speaker, session: str) -> Iterator[Judgement]:
    """The conversation goes on with what was really answered, right or wrong."""
    history: list[Turn] = []
    first = len(case.exchanges) - case.judged
    for number, exchange in enumerate(case.exchanges):
        answer = speaker.answer(session, history, exchange.user)
        history.append(Turn(user=exchange.user, assistant=answer))
        if number >= first:
            yield Judgement(exchange.user, exchange.answer, answer)
    speaker.leave(session)
