"""What works on this machine, and what to do about the rest."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from harnesses.agents.registry import toolchains
from harnesses.agents.toolchains import Toolchain, image_specs
from sandboxes.base import Mount as MountSpec
from sandboxes.base import SandboxError, SandboxSpec
from sandboxes.docker import DockerEngine
from sandboxes.images import AGENT_BASE_IMAGE, image_id
from sandboxes.volumes import toolchain_volume

BUILD = "run 'skillopt images build'"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ``advice`` says what to do where it is not well."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def examine() -> Iterator[Check]:
    """Look at everything, from the ground up; each check as soon as it is known."""
    version = platform.python_version()
    yield Check("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or later")
    try:
        engine = DockerEngine()
    except SandboxError as error:
        yield Check("Docker engine", False, *_split(error))
        return
    with engine:
        info = engine.info
        detail = f"{info['ServerVersion']}, {info['NCPU']} CPUs, {info['MemTotal'] / 2**30:.0f} GiB"
        yield Check("Docker engine", True, detail)
        missing = False
        for spec in image_specs(toolchains()):
            there = image_id(engine, spec.tag) is not None
            missing = missing or not there
            yield Check(f"image {spec.tag}", there, "there" if there else "missing", BUILD)
        if not missing:
            for toolchain in toolchains():
                yield _program(engine, toolchain)


def engine_answers() -> Check:
    """Only whether an engine can be reached."""
    return next(check for check in examine() if check.name == "Docker engine")


def missing_for_docker() -> str:
    """What keeps the CLIs from running in Docker here, with advice; empty when nothing does."""
    bad = [check for check in examine() if not check.ok]
    return "\n".join(f"{check.name}: {check.detail}; {check.advice}" for check in bad)


def _program(engine: DockerEngine, toolchain: Toolchain) -> Check:
    """Whether an agent program starts in a sandbox, and says the version that is pinned."""
    name = f"{toolchain.name} {toolchain.version}"
    try:
        mount = MountSpec(toolchain_volume(engine, toolchain.image), toolchain.target)
        with engine.sandbox(SandboxSpec(AGENT_BASE_IMAGE, "/tmp", (mount,))) as box:
            result = box.run([toolchain.binary, "--version"], deadline_s=60)
    except SandboxError as error:
        return Check(name, False, *_split(error))
    said = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
    ok = result.exit_code == 0 and toolchain.version in said
    return Check(name, ok, said[-200:] or f"exit code {result.exit_code}", BUILD)


def _split(error: SandboxError) -> tuple[str, str]:
    """What is wrong, and what the error says to do about it."""
    wrong, _, advice = str(error).partition("; ")
    return wrong, advice
