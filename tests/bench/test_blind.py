"""The farm without metrics that `bench versions --blind` measures."""

from __future__ import annotations

import os
import subprocess
import sys

from processes import ROOT

from bench.versions import BLIND

COUNT = """
from echo_tasks import exposition
from echo_tasks.telemetry import engine, http, worker
http.HTTP_REQUESTS.labels("/", "GET", 200).inc()
engine.ENGINE_OUTPUT_TOKENS.inc(5)
engine.ENGINE_TTFT_SECONDS.observe(1)
engine.ENGINE_RUNNING.set(3)
with http.EVENT_STREAMS.track_inprogress():
    print(exposition.text().decode())
"""


def told(*path: object) -> list[str]:
    """What a process tells that has counted something."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", COUNT]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_blind_process_counts_nothing() -> None:
    """With that folder first, and with nothing else changed."""
    counted = {
        'echo_http_requests_total{method="GET",route="/",status="200"} 1.0',
        "echo_engine_output_tokens_total 5.0",
        "echo_engine_time_to_first_token_seconds_count 1.0",
        "echo_engine_running_sequences 3.0",
        "echo_event_streams 1.0",
    }
    assert counted <= set(told(ROOT))
    blind = set(told(BLIND, ROOT))
    assert not counted & blind
    assert "echo_engine_output_tokens_total 0.0" in blind
