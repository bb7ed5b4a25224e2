"""What the terminal shows, of readings: expositions and records in, numbers out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from moments import AFTER, BEFORE, EXPORTER, NOW, with_workers, worker

from monitoring.terminal.exposition import Samples
from monitoring.terminal.reading import Reading
from monitoring.terminal.view import Count, Queue, Ratio, Server, rate, view


def test_samples_are_added_up_by_their_labels() -> None:
    """A name alone sums all of them, labels choose, and what is not there is no zero."""
    samples = Samples.parsed('# TYPE x_total counter\nx_total{a="1",b="2"} 3\nx_total{a="1",b="3"} 4\n')
    assert samples.value("x") == 7
    assert samples.value("x", b="3") == 4
    assert samples.value("x", b="4") is None
    assert samples.value("y") is None
    assert samples.by("b", "x") == {"2": 3, "3": 4}


def test_a_counter_is_found_whether_its_name_ends_in_total_or_not() -> None:
    """The original document's names have no `_total`; some of them are counters nevertheless."""
    for kind in ("counter", "untyped"):
        assert Samples.parsed(f"# TYPE cache_total_hits {kind}\ncache_total_hits 5\n").value("cache_total_hits") == 5


def test_garbage_is_no_exposition() -> None:
    """A server that answers with a page of HTML is not understood."""
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own
        Samples.parsed("<html><body>Welcome!</body></html>")


def test_queues_come_in_the_order_of_a_jobs_life_and_those_of_workers_as_one() -> None:
    """A queue of somebody else's comes last."""
    assert view(BEFORE, AFTER).queues == [
        Queue("memory", 12, 3.25, 8),
        Queue("reasoning", 3, None, None),
        Queue("grammar", 0, None, None),
        Queue("integration", 0, None, 4),
        Queue("workers' own", 7, 90, None),
        Queue("bulk", 1, None, None),
    ]


def test_the_queues_of_workers_are_left_out_while_nothing_is_in_them() -> None:
    """Most farms let workers take from what they share."""
    text = EXPORTER.format(accepted=1, succeeded=1).replace('"echo.direct"} 7.0', '"echo.direct"} 0.0')
    shown = view(BEFORE, replace(AFTER, exporter=Samples.parsed(text))).queues
    assert [queue.name for queue in shown] == ["memory", "reasoning", "grammar", "integration", "bulk"]


def test_jobs_have_rates_of_the_time_between_the_readings() -> None:
    """123 more accepted in ten seconds; a status that nobody has ended in yet is not known."""
    shown = view(BEFORE, AFTER)
    assert shown.jobs == [
        Count("accepted", 1123, 12.3),
        Count("succeeded", 1100, 12.0),
        Count("failed", 4, 0.0),
        Count("cancelled", None, None),
    ]
    assert (shown.open_jobs, shown.dead_letters) == (20, 1)


def test_one_reading_has_no_rates() -> None:
    """The first second of the view."""
    assert {job.per_s for job in view(AFTER, AFTER).jobs} == {None}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [(10.0, 30.0, 4.0), (30.0, 10.0, 2.0), (5.0, 5.0, 0.0), (None, 5.0, None), (5.0, None, None)],
)
def test_a_counter_that_has_become_smaller_has_begun_anew(
    before: float | None, now: float | None, expected: float | None
) -> None:
    """As Prometheus has it: all of the new value has come since."""
    assert rate(before, now, 5.0) == expected


def test_hits_are_told_of_late_and_ever() -> None:
    """80 of the last 100 lookups of answers, 130 of all 200; L2 had none of late, and there is no L3."""
    assert view(BEFORE, AFTER).ratios == [
        Ratio("answers", 0.8, 0.65),
        Ratio("L1", 0.8, 0.65),
        Ratio("L2", None, 0.2),
        Ratio("L3", None, None),
        Ratio("states", 1.0, 0.7),
    ]


def test_ratios_of_late_are_not_told_across_a_restart() -> None:
    """What has become smaller is another process's; its hits cannot be compared."""
    assert view(AFTER, BEFORE).ratios[0] == Ratio("answers", None, 0.5)


def test_workers_that_are_not_well_say_why() -> None:
    """Stalled before silent, and silent before draining."""
    shown = view(
        BEFORE,
        with_workers(
            worker("well"),
            worker("drained", draining=True),
            worker("silent", seen_at=NOW - 5, draining=True),
            worker("stalled", stalled_s=23.4, seen_at=NOW - 5),
            worker("ahead", seen_at=NOW + 1),
        ),
    ).workers
    assert shown is not None
    assert [(one.node, one.state, one.is_well) for one in shown] == [
        ("well", "serves", True),
        ("drained", "draining", False),
        ("silent", "silent", False),
        ("stalled", "stalled 23 s", False),
        ("ahead", "serves", True),
    ]
    assert shown[0].seen_s == 1
    assert shown[4].seen_s == 0


def test_servers_without_a_limit_have_none_and_one_that_is_down_says_so() -> None:
    """A limit of 0 is how the exporter says none."""
    assert view(BEFORE, AFTER).servers == [
        Server("broker", True, 100 * 2**20, None, 23),
        Server("store", False, None, None, None),
    ]


def test_without_anybody_there_is_a_view_all_the_same() -> None:
    """Broker, exporter and API away: nothing is known, nothing is zero, and the faults are told."""
    shown = view(BEFORE, Reading(111.0, faults={"broker at x": "unreachable"}))
    assert shown.workers is None
    assert shown.scaling is None
    assert [(queue.name, queue.waiting) for queue in shown.queues] == [
        (step, None) for step in ("memory", "reasoning", "grammar", "integration")
    ]
    assert {job.total for job in shown.jobs} == {None}
    assert {server.is_up for server in shown.servers} == {None}
    assert shown.faults == ["broker at x: unreachable"]


def test_an_exporter_that_was_away_gives_rates_again_at_its_second_word() -> None:
    """A gap is no rate of zero, and none of all that ever was."""
    exporter = Samples.parsed(EXPORTER.format(accepted=5, succeeded=5))
    back = replace(AFTER, exporter=exporter)
    assert view(replace(BEFORE, exporter=None), back).jobs[0] == Count("accepted", 5, None)
