"""A faster container runtime is used if the engine has it and it works, else the engine's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandboxes.base import EngineUnavailableError, Limits, SandboxError, SandboxSpec
from sandboxes.docker import KIND_LABEL, SANDBOX_KIND, DockerEngine
from sandboxes.docker_backend import DockerBackend
from sandboxes.images import RELAY_IMAGE
from sandboxes.runtime import Runtime, pick
from tests.helpers.own_engine import OwnEngine, own_engine

CRUN, UNIFIED = shutil.which("crun"), Path("/sys/fs/cgroup/unified")
HAS = {"Runtimes": {"runc": {"path": "runc"}, "fast": {"path": "/usr/bin/crun"}}}
SANDBOXES = f"{KIND_LABEL}={SANDBOX_KIND}"
needs_crun = pytest.mark.skipif(
    CRUN is None or os.getuid() != 0 or shutil.which("dockerd") is None,
    reason="starts an engine with crun: needs root, dockerd and crun",
)


def works(name: str) -> str:
    return ""


def refused(name: str) -> str:
    raise SandboxError(f"{name} was refused")


def test_it_is_known_by_its_program() -> None:
    assert pick(HAS, works) == Runtime("fast")
    assert pick({"Runtimes": {"crun": {}}}, works) == Runtime("crun")
    assert pick({"Runtimes": {"crun-vm": {"path": "/opt/crun-vm"}}}, refused) == Runtime()


@pytest.mark.parametrize("info", [{}, {"Runtimes": None}, {"Runtimes": {"runc": {}}}])
def test_an_engine_that_has_none_is_not_tried(info: dict[str, object]) -> None:
    assert pick(info, refused) == Runtime()


def test_the_engines_own_is_not_tried() -> None:
    assert pick(HAS | {"DefaultRuntime": "fast"}, refused) == Runtime()


def test_one_that_does_not_work_is_not_used_and_the_reason_is_kept() -> None:
    assert pick(HAS, refused) == Runtime(None, "fast was refused")
    assert pick(HAS, lambda name: "no limits") == Runtime(None, "no limits")


def test_an_engine_that_does_not_answer_is_no_verdict() -> None:
    def gone(name: str) -> str:
        raise EngineUnavailableError("gone")

    with pytest.raises(EngineUnavailableError):
        pick(HAS, gone)


@pytest.mark.engine
def test_the_trial_passes_with_the_engines_own_and_notices_what_is_missing(
    engine: DockerEngine, relay_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = engine.info["DefaultRuntime"]
    assert engine._problem_of(own) == ""
    broken = [{"pids_limit": 7}, {"cap_drop": []}, {"security_opt": []}, {"mem_limit": 99 << 20}]
    real = engine.api.create_host_config
    for change in broken:

        def changed(change: dict[str, object] = change, **given: object) -> object:
            return real(**given | change | {"memswap_limit": -1})

        with monkeypatch.context() as patched:
            patched.setattr(engine.api, "create_host_config", changed)
            assert "does not keep what it promises" in engine._problem_of(own), change


@pytest.mark.engine
def test_the_doctor_names_what_is_used(backend: DockerBackend, relay_image: str) -> None:
    (check,) = [check for check in backend.examine() if check.name == "container runtime"]
    assert check.ok and backend.engine.info["DefaultRuntime"] in check.detail


@pytest.fixture(params=["works", "refuses"])
def other(request: pytest.FixtureRequest) -> Iterator[OwnEngine]:
    hidden = [str(UNIFIED)] if UNIFIED.is_dir() else []
    if request.param == "refuses" and not hidden:
        pytest.skip("crun works on this machine")
    arguments = ["--add-runtime", f"crun={CRUN}"]
    hidden = hidden if request.param == "works" else []
    with own_engine(RELAY_IMAGE, arguments=arguments, hidden=hidden) as engine:
        yield engine


@pytest.mark.engine
@pytest.mark.slow
@needs_crun
def test_with_crun(other: OwnEngine) -> None:
    with closing(DockerBackend(other.host)) as backend:
        used = backend.engine.runtime
        (check,) = [check for check in backend.examine() if check.name == "container runtime"]
        if other.hidden:
            assert (used, check.detail) == (Runtime("crun"), "crun")
        else:
            assert used.name is None and "cgroups in hybrid mode not supported" in check.detail
        assert check.ok
        for single in (False, True):
            spec = SandboxSpec(
                RELAY_IMAGE, "/", limits=Limits(memory_mb=64, pids=32), single_command=single
            )
            with backend.sandbox(spec) as box:
                script = "id -u; tail /dev/zero; exit 3"
                result = box.run(["bash", "-c", script], deadline_s=20)
                assert (result.stdout, result.exit_code, result.limit) == (b"1000\n", 3, "memory")
            with backend.sandbox(spec) as box:
                assert box.run(["sleep", "60"], deadline_s=1).timed_out
                [made] = backend.engine.api.containers(all=True, filters={"label": SANDBOXES})
                state = backend.engine.api.inspect_container(made["Id"])
                assert state["HostConfig"]["Runtime"] == (used.name or "runc")
