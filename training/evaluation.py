"""What the model is judged on: conversations of held-out words, and the answers that are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from training.domain import grammar, knowledge, reasoning, talk
from training.domain.conversations import aside, calculation
from training.domain.exchange import Exchange
from training.domain.memory import Story
from training.domain.words import Words


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation of which the last `judged` answers are judged."""

    exchanges: tuple[Exchange, ...]
    judged: int = 1


def cases(task: str, count: int, seed: int = 0) -> list[Case]:
    """As many conversations of a task, of held-out words alone. Raises LookupError with the known tasks."""
    if task not in TASKS:
        raise LookupError(f"no task {task!r}; there are: {', '.join(TASKS)}")
    random = Random(f"{task} {seed}")  # noqa: S311 - texts, no secrets
    return [TASKS[task](Words(random, held_out=True)) for _ in range(count)]


def _recall(words: Words) -> Case:
    """Facts and distractions over two to six turns, then a question for one of the facts."""
    story, random = Story(words), words.random
    told = [story.introduce() if random.random() < 0.5 else story.tell(random.choice((1, 2)))]
    for _ in range(random.randint(1, 5)):
        told.append(aside(words) if random.random() < 0.35 else story.tell())
    random.shuffle(told)
    return Case((*told, story.ask()))


def _eight_facts(words: Words) -> Case:
    """Eight facts, a distraction after every other one, and a question for each in another order."""
    story = Story(words)
    told = [story.introduce()] if words.random.random() < 0.5 else []
    while len(story.facts) < 8:
        told.append(story.tell())
        if len(story.facts) % 2 == 0:
            told.append(aside(words))
    asked = words.random.sample([*story.facts.values()], 8)
    return Case((*told, *map(story.ask, asked)), judged=8)


def _corrections(words: Words) -> Case:
    """Facts, a correction, perhaps a distraction, and a question for what was corrected."""
    story, random = Story(words), words.random
    told = [story.introduce() if random.random() < 0.5 else story.tell()]
    told += [story.tell() for _ in range(random.randint(0, 2))]
    before = dict(story.facts)
    told.append(story.correct())
    (corrected,) = [fact for place, fact in story.facts.items() if before[place] is not fact]
    between = [aside(words)] if random.random() < 0.5 else []
    return Case((*told, *between, story.ask(corrected)))


def _not_told(words: Words) -> Case:
    """Facts, and a question for another."""
    story, random = Story(words), words.random
    told = [random.choice((story.tell, story.tell_of))() for _ in range(random.randint(1, 4))]
    return Case((*told, story.ask_unknown()))


def _third_persons(words: Words) -> Case:
    """Facts about two or three people, and a question for one of them."""
    story, random = Story(words), words.random
    told = [story.tell_of(random.choice((1, 1, 2))) for _ in range(random.randint(2, 5))]
    told.insert(random.randint(0, len(told)), story.tell())
    of_others = [fact for fact in story.facts.values() if fact.person]
    return Case((*told, story.ask(random.choice(of_others))))


def _alone(make: Callable[[Words], Exchange]) -> Callable[[Words], Case]:
    return lambda words: Case((make(words),))


TASKS: dict[str, Callable[[Words], Case]] = {
    "recall": _recall,
    "eight facts": _eight_facts,
    "corrections": _corrections,
    "not told": _not_told,
    "third persons": _third_persons,
    "syllogisms": _alone(reasoning.syllogism),
    "comparisons": _alone(reasoning.comparison),
    "conditionals": _alone(reasoning.conditional),
    "sums and differences": _alone(calculation),
    "grammar": _alone(grammar.correction),
    "sentence kinds": _alone(grammar.kind),
    "knowledge": _alone(knowledge.knowledge),
    "small talk": _alone(talk.small_talk),
    "beyond the domain": _alone(talk.beyond),
}
"""Every task by its name, and how a case of it is made."""
