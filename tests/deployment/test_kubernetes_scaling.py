"""How many workers KEDA and the HPA would have, by the real PromQL of their question."""

from __future__ import annotations

import math
from pathlib import Path

import manifests
import promtool
import pytest
import yaml

from echo_tasks import keys

SCALER = manifests.one(manifests.added("keda"), "ScaledObject", "cognitive-service")["spec"]
TRIGGER = SCALER["triggers"][0]["metadata"]


def series(name: str, queue: str, exporter: str, count: int) -> dict[str, str]:
    return {"series": f'{name}{{queue_name="{queue}",instance="{exporter}"}}', "values": str(count)}


@promtool.needed
@pytest.mark.parametrize(
    ("waiting", "held", "workers"),
    [(0, 0, 1), (0, 38, 1), (0, 39, 2), (150, 60, 6), (900, 40, 10)],
)
def test_there_are_workers_for_all_that_waits_and_all_that_is_held(
    tmp_path: Path, waiting: int, held: int, workers: int
) -> None:
    """Over the steps' queues and workers' own, once each whoever tells of them; others' queues are not ours."""
    queues = [keys.queue(step) for step in keys.STEPS]
    told = [
        series(name, queue, exporter, count if queue == mine else 0)
        for exporter in ("one:9808", "another:9808")
        for name, mine, count in (
            ("celery_queue_length", queues[0], waiting),
            ("echo_queue_in_flight", keys.DIRECT, held),
        )
        for queue in [*queues, keys.DIRECT]
    ]
    told.append(series("celery_queue_length", "celery", "one:9808", 1000))
    expected = [{"labels": "{}", "value": waiting + held}]
    asking = {"expr": TRIGGER["query"], "eval_time": "0m", "exp_samples": expected}
    path = tmp_path / "query.yml"
    path.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": told, "promql_expr_test": [asking]}]}))
    done = promtool.promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = math.ceil((waiting + held) / float(TRIGGER["threshold"]))
    assert max(SCALER["minReplicaCount"], min(SCALER["maxReplicaCount"], wanted)) == workers
