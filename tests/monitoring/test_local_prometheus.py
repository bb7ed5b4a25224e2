"""The Prometheus that runs with the view: our configuration for this farm's places, and its end with the view's."""

from __future__ import annotations

import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from processes import Site, until

from echo_tasks.settings import Settings, load
from monitoring.terminal import local_prometheus
from monitoring.terminal.local_prometheus import CONFIGURATION, RETENTION, arguments, configuration, running

TEXT = """\
rule_files:
  - rules/*.yml
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: ["127.0.0.1:9090"]}]
  - job_name: node
    static_configs:
      - targets: [127.0.0.1:9100]
  - job_name: echo-api
    static_configs:
      - targets: [127.0.0.1:8000, 127.0.0.1:80001]
  - job_name: echo-worker
    http_sd_configs:
      - url: http://127.0.0.1:9808/targets
"""

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    site = Site(tmp_path)
    return load(site.env)


def is_ready(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.prometheus_port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_configuration_is_made_for_the_places_of_the_farm() -> None:
    """Ports and hosts that settings have moved, and rules from any folder; what is not ours stays."""
    settings = load({"API_HOST": "0.0.0.0", "API_PORT": "8010", "EXPORTER_PORT": "19808", "PROMETHEUS_PORT": "19090"})
    made = configuration(TEXT, settings)
    assert 'targets: ["127.0.0.1:19090"]' in made
    assert "targets: [127.0.0.1:9100]" in made
    assert "targets: [127.0.0.1:8010, 127.0.0.1:80001]" in made
    assert "url: http://127.0.0.1:19808/targets" in made
    assert f"\n  - {CONFIGURATION.parent}/rules/*.yml\n" in made


def test_by_default_only_the_rules_folder_is_named_whole() -> None:
    """The configuration as it is in the repository is for the defaults."""
    assert configuration(TEXT, load({})) == TEXT.replace("rules/", f"{CONFIGURATION.parent}/rules/")


def test_what_it_keeps_is_bounded_and_it_is_on_loopback(tmp_path: Path) -> None:
    """Both in time and in size."""
    words = arguments(tmp_path, load({"PROMETHEUS_PORT": "19090"}))
    assert "--web.listen-address=127.0.0.1:19090" in words
    assert f"--storage.tsdb.retention.size={RETENTION['size']}" in words
    assert f"--storage.tsdb.retention.time={RETENTION['time']}" in words


def test_where_none_is_installed_that_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view goes on without one."""
    monkeypatch.setenv("PATH", "/nowhere")
    with running(settings) as prometheus:
        assert prometheus.in_words() == "not installed"


@needs_prometheus
def test_a_port_that_is_taken_is_said(settings: Settings) -> None:
    """With the setting that moves it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.prometheus_port))
        taken.listen()
        with running(settings) as prometheus:
            assert prometheus.in_words() == f"port {settings.prometheus_port} is taken: set PROMETHEUS_PORT"


@pytest.mark.farm
@needs_prometheus
def test_it_runs_until_the_end_of_the_block(settings: Settings) -> None:
    """With our configuration, its data in the farm's folder, and no process left."""
    with running(settings) as prometheus:
        until(lambda: is_ready(settings), "Prometheus is ready")
        assert prometheus.in_words() == ""
        (child,) = [found for found in psutil.Process().children() if found.name() == "prometheus"]
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.prometheus_port}/api/v1/rules", timeout=5) as answer:
            assert b"groups" in answer.read()
    assert not child.is_running()
    assert not is_ready(settings)
    assert (settings.echo_var / "prometheus" / "data" / "wal").is_dir()


@needs_prometheus
def test_one_that_cannot_start_says_why(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own last words, and how it ended."""
    broken = tmp_path / "prometheus.yml"
    broken.write_text("scrape_configs: nonsense\n")
    monkeypatch.setattr(local_prometheus, "CONFIGURATION", broken)
    with running(settings) as prometheus:
        told = until(prometheus.in_words, "it ends")
        assert told.startswith("ended with exit status ")
        assert "nonsense" in told


def test_a_folder_that_cannot_be_written_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name."""
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    nowhere = settings.model_copy(update={"echo_var": Path("/proc/nowhere")})
    with running(nowhere) as prometheus:
        assert prometheus.in_words().startswith("cannot be started: /proc/nowhere")
