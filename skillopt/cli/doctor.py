"""What works on this machine, and how to fix the rest."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harnesses.accounts.chatgpt import ChatGptAccount, SignedIn
from harnesses.accounts.vault import AccountError
from harnesses.agents.registry import toolchains
from harnesses.agents.releases import ReleaseError, newest_release
from harnesses.agents.toolchains import Toolchain, image_specs
from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN
from sandboxes.backend import Backend, Check
from sandboxes.base import Mount, SandboxError, SandboxSpec
from sandboxes.docker import DockerEngine
from sandboxes.docker_backend import DockerBackend
from sandboxes.images import AGENT_BASE_IMAGE, image_id
from skillopt.config.executors import RayConfig
from skillopt.config.inputs import read_config
from skillopt.core.errors import SkillOptError
from skillopt.core.installation import OTHER, WAY_OUT, other_package
from skillopt.evaluation.agent_trial import remembered
from skillopt.rollouts.cluster.keys import check_keys, needed_keys
from skillopt.rollouts.cluster.sameness import ADVICE, difference, versions
from skillopt.tasks.own_image import own_image

BUILD = "run 'skillopt images build'"


def installation() -> Check:
    """Whether another project's package of the same name lies over this one."""
    own, problem = Path(__file__).parents[1], other_package()
    try:
        other = metadata.distribution(OTHER)
    except metadata.PackageNotFoundError:
        return Check("installation", not problem, problem or str(own.parent), WAY_OUT)
    over = [str(file) for file in other.files or () if own in _path(other, file).parents]
    detail = f"{own.parent}; {OTHER} {other.version}, which is another project's, "
    if not over and not problem:
        return Check("installation", True, f"{detail}is elsewhere")
    detail += f"lies over it with {len(over)} files: {', '.join(over[:4])}"
    return Check("installation", False, detail, WAY_OUT)


def _path(of: metadata.Distribution, file: metadata.PackagePath) -> Path:
    return Path(str(of.locate_file(file)))


def examine() -> Iterator[Check]:
    """Run all checks from the ground up; yields each as soon as its result is known."""
    version = platform.python_version()
    yield Check("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or later")
    try:
        backend = DockerBackend()
    except SandboxError as error:
        yield Check("Docker engine", False, *_split(error))
        return
    with closing(backend):
        yield from backend.examine()
        there = {}
        for spec in image_specs(toolchains()):
            found = there[spec.tag] = image_id(backend.engine, spec.tag) is not None
            yield Check(f"image {spec.tag}", found, "there" if found else "missing", BUILD)
        if there[AGENT_BASE_IMAGE]:
            yield _sandbox(backend)
            for toolchain in toolchains():
                if there[toolchain.image]:
                    yield _program(backend, toolchain)


def examined(driver: Mapping[str, str], keys: Sequence[str], keys_file: str) -> list[Check]:
    """All results of :func:`examine`, and whether a run would use this machine, as a node of a
    cluster sends them.

    Args:
        driver: :func:`skillopt.rollouts.cluster.sameness.versions` of the driver.
        keys: variables that must contain API keys.
        keys_file: file with them; empty for the environment.
    """
    other, missing = difference(driver, versions()), ""
    try:
        check_keys(keys, keys_file)
    except SandboxError as error:
        missing = str(error)
    return [
        installation(),
        Check("same code", not other, other or "yes", ADVICE),
        Check("API keys", not missing, missing or ", ".join(keys) or "none is needed", "see there"),
        *examine(),
    ]


def nodes(name: str) -> Iterator[Check]:
    """What works on the nodes of the cluster that a config names; nothing if it names none.

    Args:
        name: of the config.
    """
    from skillopt.rollouts.cluster.survey import survey

    try:
        config = read_config(name)
        executor = config.executor
        if not isinstance(executor, RayConfig):
            return
        keys = tuple(needed_keys(config))
        for node, found in survey(
            executor, partial(examined, versions(), keys, executor.keys_file)
        ):
            if isinstance(found, str):
                yield Check(f"node {node}", False, found, "see 'ray status' and Ray's logs there")
                continue
            for check in found:
                yield replace(check, name=f"node {node}: {check.name}")
    except SkillOptError as error:
        yield Check("cluster", False, str(error), "see docs/scale.md")


def accounts() -> Iterator[Check]:
    """Which plans can pay for model calls here. None of them has to; nobody is asked."""
    title = "ChatGPT plan"
    try:
        state = ChatGptAccount().state()
    except AccountError as error:
        yield Check(title, False, str(error), "run 'skillopt login chatgpt'")
    else:
        yield _chatgpt(title, state)
    name = CLAUDE_TOKEN
    there = bool(os.environ.get(name, "").strip())
    yield Check("Claude plan", True, f"{name} is {'set' if there else 'not set'}")


def _chatgpt(title: str, state: SignedIn | None) -> Check:
    if state is None:
        return Check(title, True, "not signed in ('skillopt login chatgpt' signs in)")
    who = f"signed in{f' as {state.email}' if state.email else ''}, kept in {state.place}"
    if state.problem:
        return Check(title, False, f"{who}: {state.problem}", "run 'skillopt login chatgpt' again")
    ends = datetime.fromtimestamp(state.expires_at).strftime("%Y-%m-%d %H:%M")
    valid = state.expires_at > time.time()
    token = f"valid until {ends}" if valid else f"expired at {ends}, renewed with the next call"
    return Check(title, True, f"{who}; its token is {token}")


def environment(name: str) -> Check:
    """Whether the image of ``tasks.environment`` is described as it has to be; it is not built.

    Args:
        name: of a config.
    """
    title = f"environment of {name}"
    try:
        config = read_config(name)
        if not config.tasks.environment:
            return Check(title, True, f"the project's own image, {AGENT_BASE_IMAGE}")
        with TemporaryDirectory(prefix="skillopt-doctor-") as made:
            own = own_image(config.tasks.environment, config.tasks.source, Path(made) / "tasks")
    except SkillOptError as error:
        return Check(title, False, str(error), "correct it, or remove tasks.environment")
    return Check(title, True, "; ".join([own.name, *own.notes]))


def engine_answers() -> Check:
    """The check whether a Docker engine can be reached, alone."""
    return next(check for check in examine() if check.name == "Docker engine")


def missing_for_docker() -> str:
    """What prevents the agents from running in Docker here, with advice; empty if nothing does."""
    bad = [check for check in examine() if not check.ok]
    return "\n".join(f"{check.name}: {check.detail}; {check.advice}" for check in bad)


@dataclass(frozen=True)
class Release:
    """The versions of an agent."""

    agent: str
    pinned: str
    newest: str
    """Empty if it is not known."""
    unknown: str
    """Why the newest is not known."""
    tried: Mapping[str, Any] | None
    """The last trial, see :mod:`skillopt.evaluation.agent_trial`."""

    def text(self) -> str:
        """The versions in words."""
        newest = self.newest or f"unknown ({self.unknown})"
        return f"pinned {self.pinned}, newest {newest}, last tried {_trial(self.tried)}"


def engine_machine() -> str | None:
    """The architecture of the engine's machine, which agents are built for; None without one."""
    try:
        with DockerEngine() as engine:
            return str(engine.info["Architecture"])
    except SandboxError:
        return None


def releases() -> Iterator[Release]:
    """Which version of each agent is pinned, which is the newest, which was tried last."""
    known, machine = remembered(), engine_machine()
    for toolchain in toolchains():
        newest, unknown = "", ""
        try:
            newest = newest_release(toolchain.name, machine)
        except ReleaseError as error:
            unknown = str(error)
        tried = known.get(toolchain.name)
        yield Release(toolchain.name, toolchain.version, newest, unknown, tried)


def release_checks() -> Iterator[Check]:
    """The releases as checks, none of which fails: the pinned versions are those that work."""
    for release in releases():
        advice = ""
        if release.newest not in ("", release.pinned):
            advice = f"; 'skillopt agents try {release.agent} --version newest' tries it"
        yield Check(f"versions of {release.agent}", True, release.text() + advice)


def _trial(tried: Mapping[str, Any] | None) -> str:
    if tried is None:
        return "none"
    day = datetime.fromtimestamp(tried["at"]).strftime("%Y-%m-%d")
    return f"{tried['version']} on {day}, which {'worked' if tried['works'] else 'did not work'}"


def _sandbox(backend: Backend) -> Check:
    """Whether a sandbox like an agent's runs a command, without a network and as nobody special."""
    script = "id -u; ls /sys/class/net; grep CapEff /proc/self/status"
    try:
        with backend.sandbox(SandboxSpec(AGENT_BASE_IMAGE, "/tmp")) as box:
            result = box.run(["sh", "-c", script], deadline_s=60)
    except SandboxError as error:
        return Check("sandbox", False, *_split(error))
    said = result.stdout.decode("utf-8", "replace").split()
    ok = said[:1] != ["0"] and said[1:2] == ["lo"] and said[-1:] == ["0000000000000000"]
    detail = "an ordinary user, without a network and without capabilities"
    wrong = (result.stdout + result.stderr).decode("utf-8", "replace").strip()[-300:]
    return Check("sandbox", ok, detail if ok else wrong or f"exit code {result.exit_code}", BUILD)


def _program(backend: Backend, toolchain: Toolchain) -> Check:
    """Whether an agent program starts in a sandbox and reports the pinned version."""
    name = f"{toolchain.name} {toolchain.version}"
    try:
        mount = Mount(backend.volume(toolchain.image), toolchain.target)
        with backend.sandbox(SandboxSpec(AGENT_BASE_IMAGE, "/tmp", (mount,))) as box:
            result = box.run([toolchain.binary, "--version"], deadline_s=60)
    except SandboxError as error:
        return Check(name, False, *_split(error))
    said = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
    ok = result.exit_code == 0 and toolchain.version in said
    return Check(name, ok, said[-200:] or f"exit code {result.exit_code}", BUILD)


def _split(error: SandboxError) -> tuple[str, str]:
    """The problem that an error describes, and the advice in it."""
    wrong, _, advice = str(error).partition("; ")
    return wrong, advice
