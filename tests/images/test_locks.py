"""The locks hold what pyproject.toml asks for, and each image's lock just what its processes import."""

from __future__ import annotations

import re
import subprocess

import locked
import pytest
from processes import PYTHON, ROOT

STARTS = {
    "api": "import echo_api.server, echo_tasks.tracing.sdk, gunicorn.app.wsgiapp, gunicorn.workers.ggevent\n"
    "echo_api.create_app()",
    "worker": "import celery.bin.celery, echo_tasks.celery, echo_tasks.tasks, echo_tasks.tracing.sdk\n"
    "import workers.runtime, workers.pool, workers.autoscaler, workers.visibility, workers.watchdog, workers.farewell\n"
    "import workers.tokenizer\n"
    "workers.tokenizer.load(None)",
    "control": "import autoscale.__main__, monitoring.exporter.__main__, echo_tasks.celery, echo_tasks.tracing.sdk\n"
    "import autoscale.actuators.compose, autoscale.actuators.swarm, autoscale.actuators.kubernetes\n"
    "import celery.bin.celery, flower.command, flower.app, echo_tasks.flower_access",
}
"""What the commands of each image import when they start, and what they load by name later."""

PROBE = """
import sys
from importlib.metadata import packages_distributions

locked, wanted = ({*names.split()} for names in sys.argv[1:3])
owners = {module: {name.lower().replace("_", "-").replace(".", "-") for name in found}
          for module, found in packages_distributions().items()}

class Locked:
    def find_spec(self, name, path=None, target=None):
        owner = owners.get(name.partition(".")[0], {"deep-tree-echo"})
        if not owner & locked:
            raise ModuleNotFoundError(f"No module named {name!r} in this image", name=name)

sys.meta_path.insert(0, Locked())
exec(sys.argv[3])
loaded = {owner for module in {*sys.modules} for owner in owners.get(module.partition(".")[0], ())}
print(*sorted(wanted - loaded))
"""


def test_what_is_asked_for_is_locked_within_its_range() -> None:
    """All of pyproject.toml, in all.txt; if this fails: docker/lock."""
    pinned = [(name, version) for name, version, _ in locked.pinned(locked.LOCKS / "all.txt")]
    for asked in locked.direct():
        versions = [version.removeprefix("==") for name, version in pinned if name == locked.name(asked)]
        assert versions, f"{asked} is not locked"
        assert all(asked.specifier.contains(version, prereleases=True) for version in versions), (str(asked), versions)


@pytest.mark.parametrize("lock", [*locked.IMAGES, "torch-cuda", "build"])
def test_a_lock_goes_with_the_whole(lock: str) -> None:
    """It names what is asked for, in the versions of all.txt, each with hashes; an address it does not name."""
    text = (locked.LOCKS / f"{lock}.txt").read_text()
    whole = {(name, version) for name, version, _ in locked.pinned(locked.LOCKS / "all.txt")}
    known = {name for name, _ in whole}
    pinned = locked.pinned(locked.LOCKS / f"{lock}.txt")
    assert {(name, version) for name, version, _ in pinned if name in known} <= whole
    assert lock == "torch-cuda" or {name for name, _, _ in pinned} <= known
    assert locked.names(locked.LOCKS / f"{lock}.in") - {"torch"} <= {name for name, _, _ in pinned}
    assert not re.search(r"^\S+==[^\\]*$", text, re.M), "a line without hashes"
    assert "://" not in text


def test_torch_is_locked_as_built_for_cpus_and_for_gpus() -> None:
    """One release of both; what GPUs need is in the one lock alone."""
    (cpu,), cuda = locked.pinned(locked.LOCKS / "torch-cpu.txt"), locked.pinned(locked.LOCKS / "torch-cuda.txt")
    assert {version for name, version, _ in cuda if name == "torch"} == {cpu[1].removesuffix("+cpu")}
    assert not locked.names(locked.LOCKS / "worker.txt") & {"torch", "triton", "cuda-toolkit", "nvidia-cublas"}


@pytest.mark.parametrize("image", locked.IMAGES)
def test_an_image_starts_with_what_is_in_its_lock(image: str) -> None:
    """Its commands' imports succeed where nothing else can be imported; and all that its list asks for is imported."""
    lock, wanted = locked.of_image(image), locked.names(locked.LOCKS / f"{image}.in")
    command = [PYTHON, "-c", PROBE, " ".join(lock | {"deep-tree-echo"}), " ".join(wanted), STARTS[image]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"{image}.in names what is not imported"
