"""Sentences with one or two errors and how they should be, and the kinds of sentences."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from training.domain.exchange import Exchange
from training.domain.words import Words, a, plural, sentence

_ASKS = (
    "Correct this: {s}",
    "Correct this sentence: {s}",
    "Correct: {s}",
    "Fix this sentence: {s}",
    "Fix the grammar: {s}",
    "Please correct this: {s}",
    "Please correct this sentence: {s}",
    "Correct the grammar: {s}",
    "What is wrong with this sentence: {s}",
    "Can you correct this: {s}",
)
_ASKS_KIND = (
    "What kind of sentence is this: {s}",
    "What kind of sentence is this? {s}",
    "What type of sentence is this: {s}",
    "Name the kind of this sentence: {s}",
    "Which kind of sentence is this: {s}",
    "Is this a statement, a question, a command or an exclamation: {s}",
)
# base, third person, past, what follows it: {n} a noun, {ns} its plural, {a} it with an article, {p} a name
_VERBS = (
    ("go", "goes", "went", "to the {place}"),
    ("walk", "walks", "walked", "to the {place}"),
    ("run", "runs", "ran", "to the {place}"),
    ("eat", "eats", "ate", "{a:food}"),
    ("like", "likes", "liked", "the {thing}"),
    ("see", "sees", "saw", "{p}"),
    ("have", "has", "had", "{a:thing}"),
    ("want", "wants", "wanted", "{a:thing}"),
    ("buy", "buys", "bought", "{a:thing}"),
    ("find", "finds", "found", "the {thing}"),
    ("know", "knows", "knew", "{p}"),
    ("make", "makes", "made", "{a:thing}"),
    ("take", "takes", "took", "the {thing}"),
    ("give", "gives", "gave", "the {thing} to {p}"),
    ("help", "helps", "helped", "{p}"),
    ("write", "writes", "wrote", "to {p}"),
    ("play", "plays", "played", "with {p}"),
    ("live", "lives", "lived", "in {city}"),
    ("work", "works", "worked", "in the {place}"),
    ("watch", "watches", "watched", "the {animal}"),
    ("do", "does", "did", "the work"),
    ("drink", "drinks", "drank", "the {drink}"),
    ("open", "opens", "opened", "the {thing}"),
    ("lose", "loses", "lost", "the {thing}"),
    ("bring", "brings", "brought", "{a:thing}"),
)
_PRONOUNS = ("I", "you", "he", "she", "we", "they")
_PAST = ("yesterday", "last week", "last year", "two days ago")
_PRESENT = ("every day", "every week", "now", "on Mondays")
_PAST_FIRST = ("yesterday", "last week", "last year")
_ADJECTIVES = ("happy", "tired", "old", "young", "small", "big", "new", "good", "cold", "hungry")
_SEVERAL = ("two", "three", "four", "five", "many", "some", "ten")


@dataclass(frozen=True, slots=True)
class _Subject:
    text: str
    is_third: bool
    be: tuple[str, str]


def correction(words: Words) -> Exchange:
    """A request to correct a sentence, which is right already one time in twelve."""
    random = words.random
    right, wrong = random.choice((_verb, _verb, _be, _count, _count, _article, _question))(words)
    roll = random.random()
    if roll < 0.35:
        wrong = _careless(wrong, random)
    elif roll < 0.6:
        wrong = _careless(right, random)
    elif roll < 0.68:
        wrong = right
    ask = random.choice(_ASKS).format(s=_quoted(wrong, random))
    return Exchange(ask, right, "grammar", corrected=ask)


def kind(words: Words) -> Exchange:
    """A request to name the kind of a sentence."""
    random = words.random
    name, make = random.choice(
        (
            ("a statement", statement),
            ("a question", _any_question),
            ("a command", _command),
            ("an exclamation", _exclamation),
        )
    )
    return Exchange(random.choice(_ASKS_KIND).format(s=_quoted(make(words), random)), f"It is {name}.", "grammar")


def statement(words: Words) -> str:
    """A plain right sentence that tells nothing about the one who talks."""
    right, _ = words.random.choice((_verb, _be, _count))(words)
    return right


def _quoted(text: str, random: Random) -> str:
    """The text, at times in quotation marks."""
    mark = random.choice(("",) * 8 + ('"', "'"))
    return f"{mark}{text}{mark}"


def _careless(text: str, random: Random) -> str:
    """Without its capital, its mark, or both."""
    roll = random.random()
    if roll < 0.65:
        text = text[0].lower() + text[1:]
    if roll > 0.35:
        text = text[:-1]
    return text


def _subject(words: Words) -> _Subject:
    random = words.random
    match random.randrange(5):
        case 0:
            text = random.choice(_PRONOUNS)
            be = {"I": ("am", "was"), "he": ("is", "was"), "she": ("is", "was")}.get(text, ("are", "were"))
            return _Subject(text, text in ("he", "she"), be)
        case 1:
            return _Subject(words.draw("name"), True, ("is", "was"))
        case 2:
            return _Subject(f"the {words.draw('animal')}", True, ("is", "was"))
        case 3:
            return _Subject(f"the {plural(words.draw('animal'))}", False, ("are", "were"))
        case _:
            return _Subject(f"{random.choice(('my', 'his', 'her', 'our'))} {words.draw('person')}", True, ("is", "was"))


def _rest(words: Words, template: str) -> str:
    for kind_of_word in ("place", "thing", "animal", "drink", "city"):
        if f"{{{kind_of_word}}}" in template:
            template = template.replace(f"{{{kind_of_word}}}", words.draw(kind_of_word))
    if "{p}" in template:
        template = template.replace("{p}", words.draw("name"))
    if "{a:thing}" in template:
        template = template.replace("{a:thing}", a(words.draw("thing")))
    return template.replace("{a:food}", f"the {words.draw('food')}") if "{a:food}" in template else template


def _verb(words: Words) -> tuple[str, str]:
    """A verb in a wrong form, for its subject or for its time."""
    random, subject = words.random, _subject(words)
    base, third, past, rest = random.choice(_VERBS)
    rest = _rest(words, rest)
    present = third if subject.is_third else base
    roll = random.random()
    if roll < 0.45:
        time = random.choice(("", "", *_PRESENT))
        right, wrong = present, base if subject.is_third else third
    elif roll < 0.75:
        time = random.choice(_PAST)
        right, wrong = past, present
        if random.random() < 0.3:
            first = random.choice(_PAST_FIRST)
            return tuple(sentence(f"{first} {subject.text} {verb} {rest}") for verb in (right, wrong))  # type: ignore[return-value]
    else:
        time = random.choice(("", *_PRESENT))
        right = f"{'does' if subject.is_third else 'do'} not {base}"
        wrong = f"{'do' if subject.is_third else 'does'} not {base}"
    end = f" {time}" if time else ""
    return tuple(sentence(f"{subject.text} {verb} {rest}{end}") for verb in (right, wrong))  # type: ignore[return-value]


def _be(words: Words) -> tuple[str, str]:
    """A form of `be` that does not fit its subject or its time."""
    random, subject = words.random, _subject(words)
    adjective = random.choice(_ADJECTIVES)
    now, then = subject.be
    if random.random() < 0.6:
        time = random.choice(("", "", " now"))
        right, wrong = now, random.choice([form for form in ("am", "is", "are", "be") if form != now])
    else:
        time = f" {random.choice(_PAST)}"
        right, wrong = then, random.choice((now, "were" if then == "was" else "was"))
    return tuple(sentence(f"{subject.text} {be} {adjective}{time}") for be in (right, wrong))  # type: ignore[return-value]


def _count(words: Words) -> tuple[str, str]:
    """A noun whose number does not fit what counts it."""
    random, subject = words.random, _subject(words)
    verb = random.choice((("have", "has"), ("see", "sees"), ("want", "wants"), ("buy", "buys"), ("find", "finds")))
    noun, several = words.draw(random.choice(("thing", "animal"))), random.choice(_SEVERAL)
    start = f"{subject.text} {verb[subject.is_third]}"
    if random.random() < 0.75:
        return sentence(f"{start} {several} {plural(noun)}"), sentence(f"{start} {several} {noun}")
    return sentence(f"{start} one {noun}"), sentence(f"{start} one {plural(noun)}")


def _article(words: Words) -> tuple[str, str]:
    """`a` before a vowel, or `an` before none."""
    random, subject = words.random, _subject(words)
    noun = words.draw(random.choice(("job", "thing", "animal")))
    right = a(noun)
    wrong = f"a {noun}" if right.startswith("an ") else f"an {noun}"
    verb = random.choice((("see", "sees"), ("know", "knows"), ("want", "wants"), ("like", "likes")))
    start = f"{subject.text} {verb[subject.is_third]}"
    return sentence(f"{start} {right}"), sentence(f"{start} {wrong}")


def _question(words: Words) -> tuple[str, str]:
    """A question with the wrong helping verb, or without its mark."""
    random, subject = words.random, _subject(words)
    base, _, _, rest = random.choice(_VERBS)
    rest = _rest(words, rest)
    right, wrong = ("does", "do") if subject.is_third else ("do", "does")
    start = random.choice(("", "", "when ", "why ", "how "))
    made = [sentence(f"{start}{helper} {subject.text} {base} {rest}", "?") for helper in (right, wrong)]
    return made[0], random.choice((made[1], made[0][:-1], made[0][:-1] + "."))


def _any_question(words: Words) -> str:
    right, _ = _question(words)
    name = words.draw("name")
    others = (f"Where is {name}?", f"Who is {name}?", f"Is {name} happy?", f"What is a {words.invented()}?")
    return words.random.choice((right, right, *others))


def _command(words: Words) -> str:
    random = words.random
    thing, name = words.draw("thing"), words.draw("name")
    text = random.choice(
        (
            f"open the {thing}",
            f"close the {thing}",
            f"give {name} the {thing}",
            f"bring me the {thing}",
            f"look at the {words.draw('animal')}",
            f"go to the {words.draw('place')}",
            f"help {name}",
            f"do not touch the {thing}",
            f"take the {thing} to {name}",
            f"write to {name}",
        )
    )
    return sentence(f"please {text}" if random.random() < 0.3 else text)


def _exclamation(words: Words) -> str:
    random = words.random
    adjective, noun = random.choice(("lovely", "clever", "good", "big", "old", "small")), words.draw("animal")
    return random.choice(
        (
            f"What {a(adjective)} {noun}!",
            f"How {adjective} {words.draw('name')} is!",
            f"How {adjective} the {noun} is!",
            f"What a {adjective} day!",
            f"What {adjective} {plural(noun)}!",
        )
    )
