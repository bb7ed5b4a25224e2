"""The engine over the tiny model: what it answers, in which order, and what its faults cost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from feeding import MAX_TOKENS, fed
from structlog.testing import capture_logs
from torch import Tensor

from echo_tasks.errors import DeadlineExceeded, EngineFull, EngineStopped, GenerationError, RequestRejected
from workers.batch import Batch
from workers.engine import PREFILL_TOKENS, Engine
from workers.rwkv7 import RWKV7
from workers.scheduler import Scheduler
from workers.sequence import Generation, GenerationRequest, Sampling
from workers.tokenizer import Tokenizer

PATIENCE_S = 30
GREEDY = Sampling(temperature=0, max_tokens=24)
SEEDED = Sampling(seed=11, max_tokens=24)
ENDLESS = Sampling(temperature=0, max_tokens=4096)
PROMPT = "User: What is a tree?\n\nAssistant:"
NEIGHBOURS = ("天地玄黃", "a", "x1" * 150, "User: hello")

StartEngine = Callable[..., Engine]


def ask(engine: Engine, sampling: Sampling = GREEDY, prompt: str = PROMPT) -> Generation:
    """The answer, waited for."""
    return engine.submit(GenerationRequest(prompt, sampling)).result(PATIENCE_S)


def same_answer(one: Generation, other: Generation) -> bool:
    """The same tokens; a product of more rows sums up in another order, which log-probabilities show."""
    return (one.tokens, one.text) == (other.tokens, other.text) and other.mean_logprob == pytest.approx(
        one.mean_logprob, rel=1e-5
    )


class Around:
    """A model that does as another one, but calls `before` with the batch of each forward pass."""

    def __init__(self, model: RWKV7, before: Callable[[Batch], None]) -> None:
        self.shape, self.slots, self.max_tokens = model.shape, model.slots, model.max_tokens
        self.sampler, self.watch, self.threads = model.sampler, model.watch, 1
        self._forward = model.forward
        self._before = before

    def forward(self, batch: Batch) -> Tensor:
        self._before(batch)
        return self._forward(batch)


class Script(Around):
    """A model that says the given tokens to every prompt, one a forward pass."""

    def __init__(self, model: RWKV7, tokens: list[int]) -> None:
        super().__init__(model, lambda batch: None)
        self._tokens = tokens
        self._line = iter(tokens)
        self._last: tuple[int, ...] = ()

    def forward(self, batch: Batch) -> Tensor:
        (segment,) = batch.segments
        if segment.tokens != self._last:  # a prompt, not what was said before
            self._line = iter(self._tokens)
        self._last = (next(self._line),)
        logits = torch.zeros(1, self.shape.vocabulary)
        logits[0, self._last[0]] = 99
        return logits


class Clock:
    """The clock of an engine, which can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def be(self, moment: float) -> None:
        self._ahead = moment - time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead


class Gate:
    """An `on_text` that holds the engine's thread, from its first piece of text until the gate is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, text: str) -> None:
        self.reached.set()
        self.opened.wait(PATIENCE_S)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is opened at the end, so that no engine waits for ever."""
    gate = Gate()
    yield gate
    gate.opened.set()


def busy(engine: Engine, gate: Gate) -> Future[Generation]:
    """Fill the engine's only slot with a short answer that is held at the gate."""
    future = engine.submit(GenerationRequest(PROMPT, GREEDY, on_text=gate))
    assert gate.reached.wait(PATIENCE_S)
    return future


def test_greedy_answers_are_the_same_each_time(engine: Engine) -> None:
    """Temperature 0 leaves nothing to chance."""
    assert same_answer(ask(engine), ask(engine))


def test_a_seed_decides_the_answer(engine: Engine) -> None:
    """The same seed gives the same answer, another seed another."""
    first = ask(engine, SEEDED)
    assert same_answer(first, ask(engine, SEEDED))
    assert first.tokens != ask(engine, replace(SEEDED, seed=12)).tokens


def test_without_a_seed_answers_differ(engine: Engine) -> None:
    """No seed is a new seed for each request."""
    assert ask(engine, replace(SEEDED, seed=None)).tokens != ask(engine, replace(SEEDED, seed=None)).tokens


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED, replace(SEEDED, frequency_penalty=1.0)])
def test_an_answer_does_not_depend_on_its_neighbours(start_engine: StartEngine, sampling: Sampling) -> None:
    """Requests that run at the same time change nothing of one another's answers."""
    alone = ask(start_engine(), sampling)
    crowded = start_engine(slots=3)
    others = [crowded.submit(GenerationRequest(text, replace(SEEDED, seed=None))) for text in NEIGHBOURS]
    assert same_answer(ask(crowded, sampling), alone)
    assert all(other.result(PATIENCE_S).finish_reason == "length" for other in others)


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED])
def test_pieces_join_to_the_text(engine: Engine, sampling: Sampling) -> None:
    """What `on_text` was told, joined, is the answer's text, and no piece is empty."""
    pieces: list[str] = []
    answer = engine.submit(GenerationRequest(PROMPT, sampling, on_text=pieces.append)).result(PATIENCE_S)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1
    assert all(pieces)


def test_the_text_is_the_tokens_bytes(engine: Engine, tokenizer: Tokenizer) -> None:
    """Without a stop string the text is what the tokens decode to."""
    answer = ask(engine)
    assert answer.text == tokenizer.decode(answer.tokens).decode(errors="replace")


@pytest.mark.parametrize("start", [0, 1, 20, 57])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_stop_string_cuts_and_never_leaks(engine: Engine, tokenizer: Tokenizer, start: int, length: int) -> None:
    """A stop string out of the model's own text, across its tokens, ends the answer just before it."""
    whole = tokenizer.decode(ask(engine).tokens)
    stop = whole[start : start + length]
    assert len(stop) == length
    pieces: list[str] = []
    request = GenerationRequest(PROMPT, replace(GREEDY, stop=(b"never said", stop)), on_text=pieces.append)
    answer = engine.submit(request).result(PATIENCE_S)
    assert answer.finish_reason == "stop"
    assert answer.text == "".join(pieces) == whole[: whole.index(stop)].decode(errors="replace")
    assert stop in tokenizer.decode(answer.tokens)
    assert stop not in tokenizer.decode(answer.tokens[:-1])


def test_the_start_of_a_stop_string_at_the_end_is_text(engine: Engine, tokenizer: Tokenizer) -> None:
    """A stop string that the last token left unfinished is not withheld."""
    whole = ask(engine)
    unfinished = tokenizer.decode(whole.tokens)[-4:] + b"never said"
    answer = ask(engine, replace(GREEDY, stop=(unfinished,)))
    assert (answer.text, answer.finish_reason) == (whole.text, "length")


@pytest.mark.parametrize("limit", [1, 2, 17])
def test_max_tokens_ends_the_answer(engine: Engine, limit: int) -> None:
    """Just so many tokens are made, the first of the longer answer."""
    answer = ask(engine, replace(GREEDY, max_tokens=limit))
    assert answer.tokens == ask(engine).tokens[:limit]
    assert answer.finish_reason == "length"


def test_the_end_of_text_ends_the_answer(model: RWKV7, start_engine: StartEngine) -> None:
    """Token 0 stops, is no text, and lets out what a stop string had held back."""
    answer = ask(start_engine(Script(model, [66, 67, 0, 68])), replace(GREEDY, stop=(b"BC",)))
    assert (answer.tokens, answer.text, answer.finish_reason) == ((66, 67, 0), "AB", "stop")


def test_a_character_in_several_tokens_comes_whole(model: RWKV7, start_engine: StartEngine) -> None:
    """The bytes of one character, a token each, are one piece of text."""
    pieces: list[str] = []
    engine = start_engine(Script(model, [byte + 1 for byte in "é€😀".encode()]))
    request = GenerationRequest("x", replace(GREEDY, max_tokens=9), on_text=pieces.append)
    assert engine.submit(request).result(PATIENCE_S).text == "é€😀"
    assert pieces == ["é", "€", "😀"]


def test_undecodable_ids_are_never_said(model: RWKV7, start_engine: StartEngine, tokenizer: Tokenizer) -> None:
    """A model that wants ids beyond the vocabulary gets others, and its answer is text."""
    ids = [tokenizer.largest_id + 1, model.shape.vocabulary - 1]
    answer = ask(start_engine(Script(model, ids)), replace(GREEDY, max_tokens=2))
    assert max(answer.tokens) <= tokenizer.largest_id


def test_penalties_keep_a_model_from_repeating(model: RWKV7, start_engine: StartEngine) -> None:
    """With a frequency penalty the engine leaves a token that the model wants again and again."""
    engine = start_engine(Script(model, [66] * 51))
    assert ask(engine, replace(GREEDY, max_tokens=51)).tokens == (66,) * 51
    penalised = ask(engine, replace(GREEDY, max_tokens=51, frequency_penalty=2.0, penalty_decay=1.0))
    assert penalised.tokens[:50] == (66,) * 50
    assert penalised.tokens[50] != 66


def test_the_mean_log_probability_is_the_models_own(engine: Engine, model: RWKV7, tokenizer: Tokenizer) -> None:
    """It is the mean over the chosen tokens, of the model's distribution without undecodable ids."""
    answer = ask(engine, replace(SEEDED, temperature=0.5, presence_penalty=1.0, max_tokens=5))
    slot, tokens, total = model.slots.take(), tokenizer.encode(PROMPT), 0.0
    for token in answer.tokens:
        total += float(fed(model, slot, tokens)[: tokenizer.largest_id + 1].log_softmax(0)[token])
        tokens = [token]
    model.slots.give_back(slot)
    assert answer.mean_logprob == pytest.approx(total / 5, rel=1e-4)


def test_an_answer_tells_its_measures(engine: Engine, tokenizer: Tokenizer) -> None:
    """Prompt tokens are counted, none was cached, and waiting, first token and end follow one another."""
    answer = ask(engine)
    assert answer.prompt_tokens == len(tokenizer.encode(PROMPT))
    assert answer.cached_tokens == 0
    assert 0 <= answer.queue_s <= answer.ttft_s <= answer.total_s


def test_a_long_prompt_is_fed_in_chunks(model: RWKV7, tokenizer: Tokenizer, start_engine: StartEngine) -> None:
    """Every prompt token is fed once and in order, at most a chunk at a time."""
    batches: list[Batch] = []
    prompt = "天地" * MAX_TOKENS + "玄黃" * 5
    ask(start_engine(Around(model, batches.append)), replace(GREEDY, max_tokens=1), prompt)
    assert [len(batch.tokens) for batch in batches] == [MAX_TOKENS, MAX_TOKENS, 10]
    assert [batch.segments[0].wanted for batch in batches] == [False, False, True]
    assert list(chain(*(batch.tokens for batch in batches))) == tokenizer.encode(prompt)


def test_a_long_prompt_does_not_hold_up_its_neighbours(model: RWKV7, start_engine: StartEngine) -> None:
    """With every chunk of a prompt, which is shorter then, the other running sequences get their tokens."""
    lengths: list[list[int]] = []
    engine = start_engine(Around(model, lambda batch: lengths.append([len(one.tokens) for one in batch.segments])))
    first = threading.Event()
    short = engine.submit(
        GenerationRequest("a", ENDLESS, on_text=lambda text: first.set(), cancelled=threading.Event())
    )
    assert first.wait(PATIENCE_S)
    ask(engine, replace(GREEDY, max_tokens=1), "天地" * 75)
    chunk = PREFILL_TOKENS + 2
    whole, rest = divmod(150, chunk)
    assert [step for step in lengths if len(step) == 2] == [[1, chunk]] * whole + [[1, rest]]
    assert not short.done()


def test_a_running_answer_can_be_cancelled(engine: Engine) -> None:
    """It ends at the next step, with the text that there is."""
    cancelled, pieces = threading.Event(), []

    def on_text(text: str) -> None:
        pieces.append(text)
        cancelled.set()

    request = GenerationRequest(PROMPT, ENDLESS, on_text=on_text, cancelled=cancelled)
    answer = engine.submit(request).result(PATIENCE_S)
    assert answer.finish_reason == "cancelled"
    assert answer.text.startswith(pieces[0])
    assert len(answer.tokens) < 10


def test_a_waiting_request_can_be_cancelled(
    make_model: Callable[[int], RWKV7], tokenizer: Tokenizer, start_engine: StartEngine, gate: Gate
) -> None:
    """A request that is cancelled before it runs is answered with no tokens, and costs no forward pass."""
    batches: list[Batch] = []
    engine = start_engine(Around(make_model(1), batches.append))
    busy(engine, gate)
    request = GenerationRequest("cancelled", ENDLESS)
    future = engine.submit(request)
    request.cancelled.set()
    gate.opened.set()
    answer = future.result(PATIENCE_S)
    assert (answer.finish_reason, answer.tokens, answer.prompt_tokens, answer.text) == ("cancelled", (), 0, "")
    assert tokenizer.encode("cancelled") not in [batch.tokens for batch in batches]


def test_a_prompt_can_be_cancelled_while_it_is_fed(model: RWKV7, start_engine: StartEngine) -> None:
    """The chunks that are left of a long prompt are not fed."""
    batches: list[Batch] = []
    request = GenerationRequest("天地" * MAX_TOKENS, ENDLESS)

    def before(batch: Batch) -> None:
        batches.append(batch)
        request.cancelled.set()

    answer = start_engine(Around(model, before)).submit(request).result(PATIENCE_S)
    assert (answer.finish_reason, answer.tokens, len(batches)) == ("cancelled", (), 1)
    assert answer.prompt_tokens == sum(len(segment.tokens) for segment in batches[0].segments) < 2 * MAX_TOKENS


@pytest.mark.parametrize("prompt", ["", "天地" * 11])
def test_a_prompt_that_cannot_be_answered_is_rejected(start_engine: StartEngine, prompt: str) -> None:
    """An empty prompt and one over the limit raise RequestRejected, which names the field."""
    engine = start_engine(max_prompt_tokens=21)
    with pytest.raises(RequestRejected) as caught:
        engine.submit(GenerationRequest(prompt, GREEDY))
    assert caught.value.field == "prompt"
    assert ask(engine, prompt=("天地" * 11)[:21]).prompt_tokens == 21


def test_higher_priority_is_served_first(engine: Engine, gate: Gate) -> None:
    """Of those that wait the highest priority comes first, and of equals the oldest."""
    busy(engine, gate)
    served: list[str] = []
    futures = [
        engine.submit(GenerationRequest(PROMPT, GREEDY, priority, on_text=lambda _, name=name: served.append(name)))  # type: ignore[misc]
        for name, priority in (("low", 1), ("high", 9), ("middle", 5), ("late", 9))
    ]
    gate.opened.set()
    for future in futures:
        future.result(PATIENCE_S)
    assert list(dict.fromkeys(served)) == ["high", "late", "middle", "low"]


def test_after_stop_nothing_is_taken(engine: Engine) -> None:
    """`submit` raises EngineStopped once the engine has been stopped."""
    engine.stop()
    with pytest.raises(EngineStopped):
        engine.submit(GenerationRequest(PROMPT, GREEDY))


def test_stop_ends_what_runs_and_what_waits(engine: Engine) -> None:
    """Answers that are not whole raise EngineStopped, those in line too; nobody waits for ever."""
    begun = threading.Event()
    running = engine.submit(GenerationRequest(PROMPT, ENDLESS, on_text=lambda text: begun.set()))
    waiting = engine.submit(GenerationRequest(PROMPT, GREEDY))
    assert begun.wait(PATIENCE_S)
    engine.stop()
    assert isinstance(running.exception(0), EngineStopped)
    assert isinstance(waiting.exception(0), EngineStopped)


def test_stop_may_be_called_twice(engine: Engine) -> None:
    """Stopping an engine that has stopped does nothing."""
    engine.stop()
    engine.stop()


@pytest.mark.parametrize("fault", [RuntimeError("shape"), MemoryError("no room")])
def test_a_fault_of_the_model_costs_one_step(model: RWKV7, start_engine: StartEngine, fault: Exception) -> None:
    """A forward pass that raises fails the requests that were in it; the next are answered."""

    def before(batch: Batch) -> None:
        if 2 in [len(segment.tokens) for segment in batch.segments]:
            raise fault

    died: list[bool] = []
    engine = start_engine(Around(model, before), on_death=lambda: died.append(True))
    error = engine.submit(GenerationRequest("天地", GREEDY)).exception(PATIENCE_S)
    assert isinstance(error, GenerationError)
    assert error.__cause__ is fault
    assert all(ask(engine).finish_reason == "length" for _ in range(3))
    assert not died


def test_logits_that_are_no_numbers_cost_one_request(model: RWKV7, start_engine: StartEngine) -> None:
    """A row of NaN fails its own request; its neighbour in the batch and the next one are answered."""
    spoiled = Around(model, lambda batch: None)
    engine = start_engine(spoiled)
    alone = ask(engine)

    def forward(batch: Batch) -> Tensor:
        logits = model.forward(batch).clone()
        if 2 in (lengths := [len(segment.tokens) for segment in batch.segments]):
            logits[lengths.index(2)] = math.nan
        return logits

    spoiled._forward = forward
    neighbour = engine.submit(GenerationRequest(PROMPT, GREEDY))
    failing = engine.submit(GenerationRequest("天地", GREEDY))
    with pytest.raises(GenerationError, match="not finite"):
        failing.result(PATIENCE_S)
    assert neighbour.result(PATIENCE_S).tokens == alone.tokens
    assert ask(engine).tokens == alone.tokens


def test_a_deadline_ends_a_running_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its deadline a request fails, at the next step."""
    clock = Clock()
    monkeypatch.setattr("workers.engine.time", clock)
    deadline = time.monotonic() + 2 * PATIENCE_S
    request = GenerationRequest(PROMPT, ENDLESS, on_text=lambda text: clock.be(deadline), deadline=deadline)
    with pytest.raises(DeadlineExceeded) as caught:
        engine.submit(request).result(PATIENCE_S)
    assert caught.value.tokens > 0
    assert ask(engine).finish_reason == "length"


def test_a_deadline_ends_a_waiting_request(engine: Engine, gate: Gate) -> None:
    """Past its deadline a request in line fails without having run."""
    busy(engine, gate)
    pieces: list[str] = []
    late = engine.submit(GenerationRequest(PROMPT, GREEDY, on_text=pieces.append, deadline=time.monotonic()))
    gate.opened.set()
    with pytest.raises(DeadlineExceeded) as caught:
        late.result(PATIENCE_S)
    assert caught.value.tokens == 0
    assert pieces == []


def test_an_engine_with_a_long_line_takes_no_more(start_engine: StartEngine, gate: Gate) -> None:
    """As many requests as allowed are in line; the next raises EngineFull, and those in line are answered."""
    engine = start_engine(max_waiting=2)
    busy(engine, gate)
    waiting = [engine.submit(GenerationRequest(PROMPT, GREEDY)) for _ in range(2)]
    with pytest.raises(EngineFull):
        engine.submit(GenerationRequest(PROMPT, GREEDY))
    gate.opened.set()
    assert all(future.result(PATIENCE_S).finish_reason == "length" for future in waiting)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("top_p", 1.5),
        ("top_k", -1),
        ("presence_penalty", math.nan),
        ("frequency_penalty", math.inf),
        ("penalty_decay", 2.0),
        ("seed", -1),
        ("seed", 2**64),
        ("stop", (b"",)),
        ("stop", (b"x" * 257,)),
    ],
)
def test_bad_sampling_is_rejected_by_name(engine: Engine, field: str, value: object) -> None:
    """What no engine can serve is refused before it takes a slot, with the field's name."""
    with pytest.raises(RequestRejected) as caught:
        engine.submit(GenerationRequest(PROMPT, replace(GREEDY, **{field: value})))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_death_of_the_loop_is_told(start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose loop dies calls `on_death`, fails what waits, takes no more, and logs why."""

    def admit(scheduler: Scheduler) -> list[Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(Scheduler, "admit", admit)
    died = threading.Event()
    with capture_logs() as logs:
        engine = start_engine(on_death=died.set)
        future = engine.submit(GenerationRequest(PROMPT, GREEDY))
        assert isinstance(future.exception(PATIENCE_S), EngineStopped)
    assert died.is_set()
    assert [(entry["event"], entry["log_level"], entry["exc_info"]) for entry in logs] == [
        ("engine died", "error", True)
    ]
    with pytest.raises(EngineStopped):
        engine.submit(GenerationRequest(PROMPT, GREEDY))


def test_an_engine_that_is_stopped_has_not_died(start_engine: StartEngine) -> None:
    """`on_death` is not called for an engine that was asked to stop."""
    died: list[bool] = []
    engine = start_engine(on_death=lambda: died.append(True))
    ask(engine)
    engine.stop()
    assert not died


def test_a_future_that_its_caller_gave_up_costs_nobody_else(engine: Engine, gate: Gate) -> None:
    """A caller may give its future up, running or waiting; the engine goes on with the others."""
    busy(engine, gate).cancel()
    assert engine.submit(GenerationRequest(PROMPT, ENDLESS)).cancel()
    gate.opened.set()
    assert ask(engine).finish_reason == "length"


def test_stop_passes_over_futures_that_were_given_up(engine: Engine) -> None:
    """A waiting future that was given up does not keep the others from being told of the end."""
    begun = threading.Event()
    running = engine.submit(GenerationRequest(PROMPT, ENDLESS, on_text=lambda text: begun.set()))
    waiting = [engine.submit(GenerationRequest(PROMPT, GREEDY)) for _ in range(3)]
    assert begun.wait(PATIENCE_S)
    assert waiting[1].cancel()
    engine.stop()
    assert [isinstance(future.exception(0), EngineStopped) for future in (running, waiting[0], waiting[2])] == [
        True
    ] * 3


def test_a_caller_whose_on_text_raises_harms_itself_alone(engine: Engine) -> None:
    """The request with the broken callback fails with its error; the next one is answered."""

    def broken(text: str) -> None:
        raise ZeroDivisionError("the caller's own")

    failed = engine.submit(GenerationRequest("Hello.", Sampling(max_tokens=4), on_text=broken))
    with pytest.raises(GenerationError, match="the caller's own"):
        failed.result(30)
    assert ask(engine).finish_reason == "length"


def test_what_waits_in_an_engine_that_never_started_is_told(model: RWKV7, tokenizer: Tokenizer) -> None:
    """Stopped before its start, the engine leaves no future pending."""
    engine = Engine(model, tokenizer, max_prompt_tokens=100)
    waiting = engine.submit(GenerationRequest("Hello.", Sampling()))
    engine.stop()
    with pytest.raises(EngineStopped):
        waiting.result(0)
