"""The view as it is drawn: sections one below the other, cut to a terminal's height."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from echo_tasks.messages import ScalingEvent, ScalingState
from monitoring.terminal import amounts
from monitoring.terminal.pages import Page
from monitoring.terminal.view import LATE_S, Server, View, Worker

HEADING = "bold cyan"
BAD = "bold red"
WARNING = "yellow"
FAINT = "dim"

_ROOMY_ROWS = 30
"""From so many rows on there is an empty one between sections."""

_BETWEEN = "  "

_EVENTS = 3
"""As many events of scaling as there is always room for."""


def draw(view: View, pages: Sequence[Page], at: str, columns: int, rows: int | None) -> RenderableType:
    """All of the view in so many columns and rows; in as many rows as it takes where those are None."""
    links = _pages(pages, columns)
    has_air = rows is None or rows >= _ROOMY_ROWS
    events, workers = len(view.events), None
    if rows is not None:
        spare = rows - _needed(view) - len(links) - 4 * has_air
        workers = max(1, min(spare, len(view.workers or [])))
        events = _EVENTS + max(0, spare - workers)
    air: list[RenderableType] = [Text("")] if has_air else []
    sections: list[RenderableType] = [
        _line(f"Deep Tree Echo   {at}   {_in_sum(view.workers)}", "bold"),
        *(_line(fault, BAD) for fault in view.faults),
        _abreast(_queues(view), _jobs(view)),
        *air,
        _workers(view.workers, workers),
        *air,
        _abreast(_ratios(view), _scaling(view.scaling, view.events[:events])),
        *air,
        _servers(view.servers),
        *air,
        *links,
    ]
    return Group(*sections)


def _needed(view: View) -> int:
    """Rows without pages, any worker, or more than the least of events."""
    above = 1 + max(len(view.queues), len(view.jobs) + 1 + bool(view.dead_letters))
    below = 1 + max(len(view.ratios), 2 + bool(view.scaling and view.scaling.fault) + _EVENTS)
    return 1 + len(view.faults) + above + 1 + below + 1


def _abreast(left: RenderableType, right: RenderableType) -> Table:
    grid = Table.grid(expand=True, padding=(0, 3))
    grid.add_column(ratio=5)
    grid.add_column(ratio=4)
    grid.add_row(left, right)
    return grid


def _table(*headings: str) -> Table:
    """The first column is text, the others are numbers; the headings are the section's."""
    table = Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style=HEADING)
    first, *others = headings
    table.add_column(first, no_wrap=True, overflow="ellipsis", ratio=1)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _queues(view: View) -> Table:
    table = _table("QUEUES", "waiting", "oldest", "in flight")
    for queue in view.queues:
        table.add_row(
            queue.name,
            amounts.count(queue.waiting),
            amounts.duration(queue.oldest_s) if queue.waiting else amounts.UNKNOWN,
            amounts.count(queue.in_flight),
        )
    return table


def _jobs(view: View) -> Table:
    table = _table("JOBS", "per s", "in all")
    for job in view.jobs:
        is_bad = job.name == "failed" and bool(job.per_s)
        table.add_row(job.name, amounts.per_second(job.per_s), amounts.count(job.total), style=BAD if is_bad else None)
    table.add_row("open", "", amounts.count(view.open_jobs))
    if view.dead_letters:
        table.add_row("dead letters", "", amounts.count(view.dead_letters), style=BAD)
    return table


def _workers(workers: list[Worker] | None, rows: int | None) -> Table:
    """Those that are not well come first where there is not room for all."""
    known = workers or []
    table = _table("WORKERS", "slots", "tokens/s", "CPU", "memory", "seen", "state")
    shown = known
    if rows is not None and len(known) > rows:
        shown = sorted(known, key=lambda worker: worker.is_well)[: rows - 1]
    for worker in shown:
        table.add_row(
            worker.node,
            f"{worker.busy}/{worker.slots}",
            amounts.per_second(worker.tokens_per_s),
            amounts.share(worker.cpu),
            amounts.memory(worker.memory_bytes),
            Text(amounts.duration(worker.seen_s), style=WARNING if worker.seen_s >= LATE_S else ""),
            Text(worker.state, style="" if worker.is_well else WARNING if worker.state == "draining" else BAD),
        )
    if len(shown) < len(known):
        table.add_row(Text(f"and {len(known) - len(shown)} more", style=FAINT))
    elif not known:
        table.add_row(Text("not known" if workers is None else "none", style=BAD))
    return table


def _in_sum(workers: list[Worker] | None) -> str:
    if not workers:
        return "no workers" if workers is not None else ""
    busy, slots = sum(worker.busy for worker in workers), sum(worker.slots for worker in workers)
    speed = amounts.per_second(sum(worker.tokens_per_s for worker in workers))
    return f"{len(workers)} worker{'s' if len(workers) > 1 else ''}, {busy} of {slots} slots, {speed} tokens/s"


def _ratios(view: View) -> Table:
    table = _table("CACHE HITS", "of late", "ever")
    for ratio in view.ratios:
        is_part = ratio.name.startswith("L")
        name = f"  {ratio.name}" if is_part else ratio.name
        table.add_row(name, amounts.share(ratio.late), amounts.share(ratio.ever))
    return table


def _scaling(state: ScalingState | None, events: Sequence[ScalingEvent]) -> Group:
    heading = Text("SCALING", style=HEADING, no_wrap=True, overflow="ellipsis")
    if state is None:
        lines = [_line("no controller is known to lead", BAD)]
    else:
        switched = "" if state.is_enabled else "off: "
        heading.append(f" {switched}{state.desired} wanted, {state.least} to {state.most}", style="not bold default")
        lines = [
            _line(f"{state.serving} serving, {state.starting} starting, {state.draining} draining"),
            _line(f"{amounts.share(state.utilisation)} of slots wanted: {_reason(state.reason)}"),
        ]
        lines += [_line(state.bound)] if state.bound else []
        lines += [_line(f"{state.actuator}: {state.fault}", BAD)] if state.fault else []
    return Group(heading, *lines, *(_line(_event(event), FAINT) for event in events))


def _event(event: ScalingEvent) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    return f"{at} {event.current} → {event.desired} {event.error or _reason(event.reason)}"


def _reason(name: str) -> str:
    return name.replace("_", " ")


def _servers(servers: Sequence[Server]) -> Table:
    grid = Table.grid(expand=True, padding=(0, 3))
    for _ in servers:
        grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(*(_server(server) for server in servers))
    return grid


def _server(server: Server) -> Text:
    told = Text(f"{server.name.upper()} ", style=HEADING)
    if server.is_up is False:
        return told.append("down", style=BAD)
    limit = f" of {amounts.memory(server.limit_bytes)}" if server.limit_bytes else ""
    said = f"{amounts.memory(server.memory_bytes)}{limit}, {amounts.count(server.clients)} clients"
    return told.append(said if server.is_up else "not known", style="not bold default")


def _pages(pages: Sequence[Page], columns: int) -> list[Text]:
    """As many to a line as it takes."""
    lines: list[Text] = []
    for page in pages:
        told = Text(no_wrap=True, overflow="ellipsis").append(f"{page.name} ", style=HEADING)
        told.append(page.in_words, style="" if page.answers else FAINT)
        if lines and lines[-1].cell_len + len(_BETWEEN) + told.cell_len <= columns:
            lines[-1].append(_BETWEEN).append_text(told)
        else:
            lines.append(told)
    return lines


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
