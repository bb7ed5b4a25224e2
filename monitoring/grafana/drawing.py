"""A dashboard as Grafana's JSON, of the schema that version 10 and newer read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from monitoring.grafana.board import Board, Mark, Panel, Variable

Json = dict[str, Any]

SCHEMA = 39
COLUMNS = 24
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


def draw(board: Board) -> Json:
    """The whole dashboard."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["deep-tree-echo"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,  # one cross over all panels
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": "Deep Tree Echo",
                "tags": ["deep-tree-echo"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": [_mark(mark) for mark in board.marks]},
        "templating": {"list": [_DATASOURCE, *(_variable(variable) for variable in board.variables)]},
        "panels": list(_panels(board)),
    }


_DATASOURCE: Json = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
}


def _variable(variable: Variable) -> Json:
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": SOURCE,
        "definition": variable.query,
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,  # whenever the time range changes: workers come and go
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _mark(mark: Mark) -> Json:
    return {
        "name": mark.name,
        "datasource": SOURCE,
        "enable": True,
        "expr": mark.expr,
        "titleFormat": mark.name,
        "textFormat": mark.text,
        "iconColor": mark.colour,
        "step": "15s",
    }


def _panels(board: Board) -> Iterable[Json]:
    number, y = 0, 0
    for row in board.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield _panel(panel) | {"id": number, "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}}
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": [_target(panel, place, legend) for place, legend in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    } | _SHAPES.get(panel.kind, {})


def _target(panel: Panel, place: int, legend: str) -> Json:
    is_now = panel.kind in {"table", "bargauge"}
    return {
        "refId": chr(ord("A") + place),
        "datasource": SOURCE,
        "expr": panel.queries[legend],
        "legendFormat": legend,
        "editorMode": "code",
        "format": {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series"),
        "instant": is_now,
        "range": not is_now,
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": value} for colour, value in panel.thresholds.items()]
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
    }
    if panel.least is not None:
        defaults["min"] = panel.least
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
        }
    return defaults


def _options(panel: Panel) -> Json:
    options = _OPTIONS[panel.kind]
    return options | {"yAxis": {"unit": panel.unit}} if panel.kind == "heatmap" else options


_LATEST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}

_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _LATEST,
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    },
    "bargauge": {
        "reduceOptions": _LATEST,
        "displayMode": "gradient",
        "orientation": "horizontal",
        "showUnfilled": True,
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Spectral", "steps": 64, "reverse": True},
        "legend": {"show": True},
        "tooltip": {"show": True, "yHistogram": False},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}

_SHAPES: dict[str, Json] = {
    "table": {
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True, "job": True}}},
        ]
    }
}
"""What a kind of panel has besides."""
