"""What can be told of a person or a thing, and the ways to tell it, change it and ask for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """A thing that can be told of a person: `{v}` is its value, `{p}` another person, `{k}` what it is a fact about.

    A template has neither capital nor final mark. `says` is how the model puts it to the person, and
    `says_of` how anyone puts it of another.
    """

    value: str
    says: str
    says_of: str
    tells: tuple[str, ...]
    asks: tuple[str, ...]
    asks_of: tuple[str, ...]
    changes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    tells_of: tuple[str, ...] = ()
    about: tuple[str, ...] = ("",)


NAME = Relation(
    value="name",
    says="your name is {v}",
    says_of="",
    tells=("my name is {v}", "I am called {v}", "I am {v}", "I'm {v}", "call me {v}", "people call me {v}"),
    asks=(
        "what is my name",
        "who am I",
        "do you remember my name",
        "what am I called",
        "do you know my name",
        "tell me my name",
        "what's my name",
    ),
    asks_of=(),
    changes=("please call me {v}", "my real name is {v}", "my name is really {v}"),
    checks=("is my name {v}", "am I called {v}", "am I {v}"),
)
RELATIONS = (
    Relation(
        value="city",
        says="you live in {v}",
        says_of="{p} lives in {v}",
        tells=("I live in {v}", "my home is in {v}", "I live in the city of {v}", "my city is {v}"),
        asks=(
            "where do I live",
            "what city do I live in",
            "which city do I live in",
            "do you remember where I live",
            "where is my home",
            "do you know where I live",
            "tell me where I live",
        ),
        asks_of=("where does {p} live", "what city does {p} live in", "do you know where {p} lives"),
        changes=("I moved to {v}", "I have moved to {v}", "I live in {v} now"),
        checks=("do I live in {v}", "is my home in {v}"),
        tells_of=("{p}'s home is in {v}",),
    ),
    Relation(
        value="job",
        says="you work as {av}",
        says_of="{p} works as {av}",
        tells=("I work as {av}", "I am {av}", "my job is {av}", "I'm {av}", "I have a job as {av}"),
        asks=(
            "what is my job",
            "what do I do for work",
            "what do I work as",
            "do you remember my job",
            "what is my work",
            "what do I do",
        ),
        asks_of=("what is {p}'s job", "what does {p} do for work", "what does {p} work as", "what does {p} do"),
        changes=("I now work as {av}", "I work as {av} now", "I became {av}"),
        checks=("do I work as {av}", "am I {av}"),
        tells_of=("{p} is {av}", "{p}'s job is {av}"),
    ),
    Relation(
        value="instrument",
        says="you play the {v}",
        says_of="{p} plays the {v}",
        tells=("I play the {v}", "I can play the {v}", "I like to play the {v}", "my instrument is the {v}"),
        asks=(
            "what instrument do I play",
            "which instrument do I play",
            "what do I play",
            "do you remember what I play",
            "what is my instrument",
        ),
        asks_of=("what instrument does {p} play", "what does {p} play", "which instrument does {p} play"),
        changes=("I play the {v} now", "I now play the {v}"),
        checks=("do I play the {v}",),
        tells_of=("{p} can play the {v}", "{p} likes to play the {v}"),
    ),
    Relation(
        value="age",
        says="you are {v} years old",
        says_of="{p} is {v} years old",
        tells=("I am {v} years old", "I'm {v} years old", "my age is {v}", "I am {v}"),
        asks=("how old am I", "what is my age", "do you remember how old I am", "do you know my age"),
        asks_of=("how old is {p}", "what is {p}'s age"),
        changes=("I turned {v}", "I am now {v} years old"),
        checks=("am I {v} years old",),
        tells_of=("{p}'s age is {v}", "{p} is {v}"),
    ),
    Relation(
        value="language",
        says="you speak {v}",
        says_of="{p} speaks {v}",
        tells=("I speak {v}", "I can speak {v}", "my language is {v}"),
        asks=("what language do I speak", "which language do I speak", "what do I speak", "what is my language"),
        asks_of=("what language does {p} speak", "which language does {p} speak"),
        checks=("do I speak {v}",),
        tells_of=("{p} can speak {v}", "{p}'s language is {v}"),
    ),
    Relation(
        value="month",
        says="your birthday is in {v}",
        says_of="{p}'s birthday is in {v}",
        tells=("my birthday is in {v}", "I was born in {v}"),
        asks=("when is my birthday", "which month is my birthday in", "when was I born", "what month was I born in"),
        asks_of=("when is {p}'s birthday", "when was {p} born"),
        checks=("is my birthday in {v}", "was I born in {v}"),
        tells_of=("{p} was born in {v}",),
    ),
    Relation(
        value="favourite",
        says="your favourite {k} is {v}",
        says_of="{p}'s favourite {k} is {v}",
        tells=(
            "my favourite {k} is {v}",
            "my favorite {k} is {v}",
            "the {k} I like best is {v}",
            "I like the {k} {v} best",
        ),
        asks=(
            "what is my favourite {k}",
            "which {k} do I like best",
            "do you remember my favourite {k}",
            "what {k} do I like best",
            "what is my favorite {k}",
            "tell me my favourite {k}",
            "what's my favourite {k}",
        ),
        asks_of=("what is {p}'s favourite {k}", "which {k} does {p} like best", "what {k} does {p} like best"),
        changes=("my favourite {k} is now {v}", "I like the {k} {v} better", "now my favourite {k} is {v}"),
        checks=("is my favourite {k} {v}",),
        tells_of=("the {k} {p} likes best is {v}",),
        about=("colour", "food", "drink", "number", "animal", "city"),
    ),
    Relation(
        value="name",
        says="your {k} is called {v}",
        says_of="{p}'s {k} is called {v}",
        tells=("my {k} is called {v}", "my {k}'s name is {v}", "I have {ak} called {v}", "the name of my {k} is {v}"),
        asks=(
            "what is my {k} called",
            "what is my {k}'s name",
            "what is the name of my {k}",
            "do you remember my {k}'s name",
            "do you know what my {k} is called",
            "who is my {k}",
        ),
        asks_of=("what is {p}'s {k} called", "what is the name of {p}'s {k}"),
        checks=("is my {k} called {v}", "is {v} my {k}"),
        tells_of=("{p} has {ak} called {v}", "the name of {p}'s {k} is {v}"),
        about=("animal", "animal", "person"),
    ),
    Relation(
        value="name",
        says="your best friend is {v}",
        says_of="{p}'s best friend is {v}",
        tells=("my best friend is {v}", "{v} is my best friend", "my best friend is called {v}"),
        asks=("who is my best friend", "what is my best friend called", "do you remember my best friend's name"),
        asks_of=("who is {p}'s best friend", "what is {p}'s best friend called"),
        changes=("my best friend is {v} now", "{v} is my best friend now"),
        checks=("is my best friend {v}", "is {v} my best friend"),
    ),
    Relation(
        value="place",
        says="the {k} is in the {v}",
        says_of="",
        tells=("the {k} is in the {v}", "I put the {k} in the {v}", "I left the {k} in the {v}"),
        asks=("where is the {k}", "where did I put the {k}", "do you know where the {k} is", "where is my {k}"),
        asks_of=(),
        changes=("I moved the {k} to the {v}", "the {k} is in the {v} now"),
        checks=("is the {k} in the {v}",),
        about=("thing",),
    ),
    Relation(
        value="code",
        says="the {k} is {v}",
        says_of="",
        tells=("the {k} is {v}", "remember that the {k} is {v}", "please remember the {k} {v}", "remember the {k} {v}"),
        asks=("what is the {k}", "what was the {k}", "do you remember the {k}", "tell me the {k}"),
        asks_of=(),
        changes=("the {k} is now {v}", "the new {k} is {v}"),
        checks=("is the {k} {v}",),
        about=("code", "password", "secret word", "number"),
    ),
)
