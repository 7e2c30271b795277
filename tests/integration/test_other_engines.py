"""Engines that cannot mount this machine's folders: files are copied, and rollouts have the same
results. One sees nothing of this machine, one maps the users of containers to others."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from docker import APIClient

from harnesses.base import Status
from sandboxes.base import Limits, Mount, SandboxError, SandboxSpec
from sandboxes.copied import Copied
from sandboxes.docker_backend import DockerBackend
from sandboxes.engine_trial import COPIES, LIMITS
from sandboxes.images import RELAY_IMAGE
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.harbor import read_task
from tests.helpers.cells import ALL_CELLS
from tests.helpers.own_engine import UID, OwnEngine, own_engine
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.small import small_config
from tests.helpers.tasks import make_task

PROJECT = Path(__file__).parents[2]
TEMPORARY = Path(tempfile.gettempdir())
OURS = [TEMPORARY, *([] if PROJECT.is_relative_to(TEMPORARY) else [PROJECT])]
KINDS = {
    "far": {"covered": tuple(map(str, OURS))},
    "remapped": {"remap_users": True},
    "rootless": {"rootless": True, "covered": (tempfile.gettempdir(),)},
}
JUDGE = """\
if [ "$(cat answer.txt)" = right ] && [ ! -e old.txt ] && [ "$(readlink link)" = answer.txt ]
then echo 1; else echo 0; fi > "$VERIFIER_LOGS/reward.txt"
"""
WORK = ["id -u", "echo right > answer.txt; ln -s answer.txt link; mkfifo pipe; rm old.txt"]
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        os.getuid() != 0 or shutil.which("dockerd") is None, reason="starts an engine: needs root"
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def other(request: pytest.FixtureRequest) -> Iterator[OwnEngine]:
    if request.param == "rootless" and not (shutil.which("rootlesskit") and _user_exists()):
        pytest.skip("no rootlesskit, or no user 1000: an engine of an ordinary user's needs both")
    with own_engine(RELAY_IMAGE, **KINDS[request.param]) as engine:
        yield engine


def _user_exists() -> bool:
    try:
        return bool(pwd.getpwuid(UID))
    except KeyError:
        return False


@pytest.fixture
def there(other: OwnEngine) -> Iterator[DockerBackend]:
    with closing(DockerBackend(other.host, without_limits=other.rootless)) as backend:
        yield backend


@pytest.mark.parametrize("user", ["agent", "root"])
def test_rollouts_have_their_results(
    user: str, other: OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_task(tmp_path / "task", JUDGE)
    dockerfile = f"FROM {RELAY_IMAGE}\nWORKDIR /app\nRUN echo x > old.txt\n"
    (folder / "environment" / "Dockerfile").write_text(dockerfile)
    settings = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(
        settings.replace("timeout_sec", f'user = "{user}"\ntimeout_sec')
    )
    model = ScriptedAgentModel(WORK)
    monkeypatch.setenv("DOCKER_HOST", other.host)
    options = {"without_limits": other.rootless}
    config = small_config(tmp_path, "direct", workers=1, **{"sandbox.options": options})
    with prepare(config, plugins=Plugins(upstreams={"sim": model})).runner(print) as runner:
        [rollout] = runner.rollouts([read_task(folder)], None, replicate=0)
    assert (rollout.status, rollout.reward.hard) == (Status.COMPLETED, 1.0), rollout.message
    assert model.outputs[0].startswith("0" if user == "root" else "1000")
    assert APIClient(other.host).containers(all=True) == []
    assert not APIClient(other.host).volumes()["Volumes"]


def test_doctor_says_that_files_are_copied_and_why(
    there: DockerBackend, request: pytest.FixtureRequest
) -> None:
    found = {check.name: check for check in there.examine()}
    assert all(check.ok for check in found.values()), found
    assert "reach the gateway; files are copied: " in found[COPIES].detail
    kind, why = found["kind of engine"].detail, found[COPIES].detail
    assert (kind, "Permission denied" in why, "does not see this machine's files" in why) == {
        "far": ("Docker", False, True),
        "remapped": ("Docker, users are mapped to others (userns-remap)", True, False),
        "rootless": ("Docker, rootless", False, True),
    }[request.node.callspec.params["other"]]


def test_mounts_that_are_wanted_and_do_not_work_are_explained(other: OwnEngine) -> None:
    wanted = DockerBackend(other.host, files="mounts", without_limits=True)
    with (
        closing(wanted) as backend,
        pytest.raises(SandboxError, match=r"^mounted folders: .*;.*copy"),
    ):
        backend.sandbox(SandboxSpec(RELAY_IMAGE, "/")).start()


def test_the_limits_hold_and_what_was_written_is_kept(
    other: OwnEngine, there: DockerBackend, tmp_path: Path
) -> None:
    if other.rootless or (other.remap_users and not ALL_CELLS):
        pytest.skip("a rootless engine keeps limits with control groups of version 2 alone")
    assert isinstance(there.files(), Copied)
    work = tmp_path / "work"
    work.mkdir()
    (work / "old").write_text("x")
    spec = SandboxSpec(
        RELAY_IMAGE, "/app", (Mount(str(work), "/app", False),), limits=Limits(disk_mb=20)
    )
    with there.sandbox(spec) as box:
        late = box.run(["sh", "-c", "rm old; echo kept > new; sleep 60"], deadline_s=2)
    assert late.timed_out and [path.name for path in work.iterdir()] == ["new"]
    fill = "for n in $(seq 40); do head -c 2000000 /dev/zero | tr '\\0' x > f$n; done; sleep 30"
    with there.sandbox(spec) as box:
        full = box.run(["sh", "-c", fill], deadline_s=60)
    assert full.limit == "disk" and full.duration_s < 20
    hungry = SandboxSpec(RELAY_IMAGE, "/", limits=Limits(memory_mb=64, pids=20))
    with there.sandbox(hungry) as box:
        eat = ["python3", "-c", "x = bytearray(300 << 20); print(len(x))"]
        assert box.run(eat, deadline_s=30).limit == "memory"
        fork = ["sh", "-c", "for n in $(seq 40); do sleep 5 & done; wait"]
        assert b"fork" in box.run(fork, deadline_s=30).stderr


def test_limits_that_the_engine_does_not_keep_are_refused(other: OwnEngine) -> None:
    with closing(DockerBackend(other.host)) as backend:
        backend.engine.info["PidsLimit"] = False
        with pytest.raises(SandboxError, match=r"not limit .*processes .*without_limits: true"):
            backend.files()
        found = {check.name: check for check in backend.examine()}
        assert not found[LIMITS].ok and "processes" in found[LIMITS].detail
    with closing(DockerBackend(other.host, without_limits=True)) as backend:
        backend.engine.info["PidsLimit"] = False
        assert isinstance(backend.files(), Copied)
