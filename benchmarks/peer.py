"""Claude Code with one shell call on one scripted model, in turns: alone on this machine, by the
peer ``caliper-eval`` (https://pypi.org/project/caliper-eval), in a bare ``docker run``, and as a
rollout of this project. None of them has a verifier, but the peer asserts that nothing is missing.

``python -m benchmarks peer`` installs the peer into a temporary virtual environment. What the model
costs is counted for the two in containers only, where it is a part of this project's process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cpu import measure, own_counters, worker
from benchmarks.overhead import bare_run, rollout
from benchmarks.place import SKILL, place
from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.registry import make_harness
from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from sandboxes.forwarder import Forwarder
from tests.helpers.scripted_model import ScriptedAgentModel

PEER = "caliper-eval==0.21.0"
AGENT = "claude-code"
KINDS = ("program", "peer", "docker run", "rollout")
_TREE = Path(__file__).parents[1]
_SPEC = """\
skills:
  - ./bench/SKILL.md
tasks:
  - name: bench
    prompt: Do it.
    assert: "assert True"
"""

Act = Callable[[int], None]
"""Runs so many rollouts."""


def run() -> dict[str, dict[str, float]]:
    """Median CPU seconds and wall seconds of each, without the start of its process."""
    chosen = argparse.Namespace(harnesses=[AGENT], add_runtime="", hide=[])
    with TemporaryDirectory() as folder, own_counters(chosen) as host, ExitStack() as stack:
        _install(Path(folder))
        workers = {
            kind: stack.enter_context(worker(_TREE, f"{kind}={folder}", host, __file__))
            for kind in KINDS
        }
        found = measure(AGENT, workers, rounds=4, rollouts=3)
    return {kind: {key: v[key] for key in ("sum", "wall")} for kind, v in found.items()}


def _install(folder: Path) -> None:
    """Put the peer, and the program from its image, into a folder."""
    venv.create(folder / "peer", with_pip=True)
    pip = [str(folder / "peer" / "bin" / "pip"), "install", "--quiet", PEER]
    subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    program_into(folder)


def program_into(folder: Path) -> None:
    """Put the program from its image into ``bin`` of a folder."""
    harness = make_harness(AGENT)
    assert isinstance(harness, CliHarness)
    toolchain = harness.agent.toolchain
    create = ["docker", "create", toolchain.image, "none"]
    made = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    try:
        (folder / "bin").mkdir()
        source = f"{made}:/toolchain/{toolchain.program}"
        subprocess.run(["docker", "cp", source, folder / "bin"], check=True, capture_output=True)
    finally:
        subprocess.run(["docker", "rm", made], check=True, stdout=subprocess.DEVNULL)


def _work(kind: str, installed: Path) -> None:
    """Run as many rollouts as each line of standard input says."""
    outside = kind in ("program", "peer")
    with _on_host(kind, installed) if outside else _in_container(kind) as act:
        for line in sys.stdin:
            own = time.process_time()
            cpu, wall = (_beyond_one if kind == "peer" else _spent)(act, int(line))
            cpu += 0.0 if outside else time.process_time() - own
            print(json.dumps({"cpu": cpu, "wall": wall, "requests": 0}), flush=True)


def _spent(act: Act, count: int) -> tuple[float, float]:
    """The processor time of child processes, and the time, of so many rollouts."""
    began, children = time.perf_counter(), _children()
    act(count)
    return _children() - children, time.perf_counter() - began


def _beyond_one(act: Act, count: int) -> tuple[float, float]:
    """As :func:`_spent`, without what one process for all of them costs."""
    (cpu, wall), (more_cpu, more_wall) = _spent(act, 1), _spent(act, count + 1)
    return more_cpu - cpu, more_wall - wall


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _in_container(kind: str) -> Iterator[Act]:
    harness = make_harness(AGENT)
    assert isinstance(harness, CliHarness)
    one = rollout if kind == "rollout" else bare_run
    with place(ScriptedAgentModel(["echo hi"]), 1) as bench, bench.places.site() as site:

        def act(count: int) -> None:
            for _ in range(count):
                one(bench, site, harness)

        yield act


@contextmanager
def _on_host(kind: str, installed: Path) -> Iterator[Act]:
    model = ScriptedAgentModel(["echo hi"])
    with (
        TemporaryDirectory() as name,
        Gateway({"up": model}, Path(name) / "s", lambda *_: 0.0) as gateway,
        gateway.open(Grant(ModelSpec("up", "sim-1"), 1)) as session,
        Forwarder(gateway.socket) as forwarder,
    ):
        env = _environment(Path(name), installed, session.token, forwarder.port)
        if kind == "program":
            yield lambda count: _program(Path(name), env, count)
        else:
            yield lambda count: _peer(Path(name), installed, env, count)


def _environment(folder: Path, installed: Path, token: str, port: int) -> dict[str, str]:
    """What the program needs. The peer hands on the settings of its user, and not all variables."""
    names = ("ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
    own = {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": token,
        "IS_SANDBOX": "1",  # Otherwise it does not run as root.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",
        **dict.fromkeys(names, "sim-1"),
    }
    skill = folder / "bench"
    skill.mkdir()
    (skill / "SKILL.md").write_text(SKILL)
    (folder / "bench.eval.yaml").write_text(_SPEC)
    (folder / "home" / ".claude").mkdir(parents=True)
    (folder / "home" / ".claude" / "settings.json").write_text(json.dumps({"env": own}))
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    return {**own, "HOME": str(folder / "home"), "PATH": path}


def _program(folder: Path, env: dict[str, str], count: int) -> None:
    argv = ["claude", "--dangerously-skip-permissions", "--model", "sim-1"]
    argv += ["--output-format", "stream-json", "--verbose", "-p", "--", "Do it."]
    for _ in range(count):
        done = subprocess.run(argv, env=env, cwd=folder, stdin=subprocess.DEVNULL,
                              capture_output=True)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def _peer(folder: Path, installed: Path, env: dict[str, str], count: int) -> None:
    argv = [str(installed / "peer" / "bin" / "caliper"), "run", "bench.eval.yaml"]
    argv += ["--workers", "1", "--model", "claude-code:sim-1", "--output", "result.json"]
    done = subprocess.run([*argv, "--k", str(count)], env=env, cwd=folder,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    chosen_kind, _, chosen_folder = parser.parse_args().work.partition("=")
    _work(chosen_kind, Path(chosen_folder))
