"""The view as lines of text: all of it at 80 by 24, more where there is room, nothing hidden that is wrong."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from moments import AFTER, BEFORE, SCALING, event, with_workers, worker
from rich.console import Console

from echo_tasks.settings import load
from monitoring.terminal import amounts
from monitoring.terminal.drawing import draw
from monitoring.terminal.pages import Page, pages
from monitoring.terminal.reading import Reading
from monitoring.terminal.view import View, view

PAGES = [
    Page("API docs", "http://127.0.0.1:8000/openapi/swagger", True),
    Page("Flower", "http://127.0.0.1:5555", False),
]
MANY = with_workers(*(worker(f"worker{number}@one") for number in range(1, 41)))


def lines(shown: View, columns: int = 80, rows: int | None = 24, told: list[Page] | None = None) -> list[str]:
    console = Console(width=columns, height=rows, file=io.StringIO(), color_system=None)
    console.print(draw(shown, told or PAGES, "12:34:56", columns, rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_farm_at_80_by_24() -> None:
    """Every section, in one screen."""
    drawn = lines(view(BEFORE, AFTER))
    text = "\n".join(drawn)
    assert len(drawn) <= 24
    assert max(map(len, drawn)) <= 80
    assert drawn[0].split() == "Deep Tree Echo 12:34:56 2 workers, 8 of 16 slots, 241.0 tokens/s".split()
    for row in (
        "memory 12 3.2 s 8 accepted 12.3 1,123",
        "workers' own 7 90 s – open 20",
        "worker1@one 6/8 120.5 90 % 350 MB 1.0 s serves",
        "answers 80 % 65 % 2 serving, 1 starting, 0 draining",
        "L1 80 % 65 % 83 % of slots wanted: burst",
        "BROKER 100 MB, 23 clients STORE down",
        "Flower no answer at 127.0.0.1:5555",
    ):
        assert row.split() in [line.split() for line in drawn], text
    assert "SCALING 3 wanted, 1 to 10" in text
    assert "2 → 3 burst" in text
    assert "dead letters" in text


@pytest.mark.parametrize("rows", [24, 25, 30, 31, 40, 60])
@pytest.mark.parametrize("columns", [80, 100, 132])
@pytest.mark.parametrize("workers", [0, 1, 4, 40])
def test_it_never_is_higher_or_wider_than_the_terminal(rows: int, columns: int, workers: int) -> None:
    """With as many workers and events as there may be, and something at fault."""
    now = with_workers(*(worker(f"a-very-long-name-of-a-worker-{n}@some-host.example.org") for n in range(workers)))
    assert now.farm
    farm = replace(now.farm, scaling=SCALING.model_copy(update={"fault": "no engine"}), events=(event(),) * 20)
    faults = {"API at http://127.0.0.1:8000": "Connection refused"}
    drawn = lines(view(BEFORE, replace(now, farm=farm, faults=faults)), columns, rows)
    assert len(drawn) <= rows
    assert max(map(len, drawn)) <= columns


def test_workers_that_are_not_well_are_seen_first_where_there_is_no_room_for_all() -> None:
    """One of forty has stalled; so many are left out, and that is said."""
    assert MANY.farm
    sick = worker("worker40@one", stalled_s=30)
    drawn = lines(view(BEFORE, with_workers(*MANY.farm.workers[:39], sick)))
    assert "worker40@one" in "\n".join(drawn)
    shown = sum(line.startswith("worker") and "@one" in line for line in drawn)
    assert f"and {40 - shown} more" in "\n".join(drawn)
    assert 0 < shown < 40


def test_a_snapshot_shows_all() -> None:
    """Without a height there is room for every worker."""
    drawn = lines(view(BEFORE, MANY), rows=None)
    assert sum("@one" in line for line in drawn) == 40


def test_what_cannot_be_reached_is_said_and_the_rest_is_shown() -> None:
    """Without exporter and API the workers are there all the same."""
    faults = {"exporter at http://127.0.0.1:9808": "Connection refused"}
    drawn = lines(view(BEFORE, replace(AFTER, exporter=None, api=None, faults=faults)))
    text = "\n".join(drawn)
    assert drawn[1] == "exporter at http://127.0.0.1:9808: Connection refused"
    assert "worker1@one" in text
    assert ["memory", "–", "–", "–", "accepted", "–", "–"] in [line.split() for line in drawn]


def test_a_farm_that_is_not_there() -> None:
    """Neither workers nor a controller are known of; with a broker there just are none."""
    nobody = "\n".join(lines(view(BEFORE, Reading(1.0))))
    assert "not known" in nobody
    assert "no controller is known to lead" in nobody
    assert "no workers" in "\n".join(lines(view(BEFORE, with_workers())))


def test_pages_tell_where_they_are_or_why_not() -> None:
    """A port that another program has is told, whether that program answers or not."""
    settings = load({"FLOWER_URL_PREFIX": "/tools/flower/", "API_HOST": "0.0.0.0", "API_PORT": "8010"})
    reading = replace(AFTER, web={"Flower": True, "Prometheus": True, "controller": False})
    told = {page.name: page.in_words for page in pages(settings, reading, "port 9090 is taken: set PROMETHEUS_PORT")}
    assert told == {
        "API docs": "http://127.0.0.1:8010/openapi/swagger",
        "Flower": "http://127.0.0.1:5555/tools/flower",
        "Prometheus": "http://127.0.0.1:9090 (port 9090 is taken: set PROMETHEUS_PORT)",
        "controller": "no answer at 127.0.0.1:9809",
        "exporter": "http://127.0.0.1:9808/metrics",
        "API metrics": "http://127.0.0.1:8010/metrics",
    }
    silent = replace(reading, web={})
    starting = {page.name: page.in_words for page in pages(settings, silent, "")}
    absent = {page.name: page.in_words for page in pages(settings, silent, "not installed")}
    assert (starting["Prometheus"], absent["Prometheus"]) == ("starting", "not installed")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (amounts.count(12034.0), "12,034"),
        (amounts.count(None), "–"),
        (amounts.per_second(3.24), "3.2"),
        (amounts.per_second(1204.4), "1,204"),
        (amounts.share(0.434), "43 %"),
        (amounts.duration(0.44), "0.4 s"),
        (amounts.duration(99.4), "99 s"),
        (amounts.duration(200), "3 min 20 s"),
        (amounts.duration(3 * 3600 + 125), "3 h 2 min"),
        (amounts.memory(512 * 2**20), "512 MB"),
        (amounts.memory(2.5 * 2**20), "2.5 MB"),
        (amounts.memory(4 * 2**30), "4.0 GB"),
    ],
)
def test_amounts_are_short(told: str, expected: str) -> None:
    """Numbers as a person reads them."""
    assert told == expected
