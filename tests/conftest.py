"""Tests that need a Docker engine, a browser or a model's weights are skipped if there is none,
counted, and reported; in CI, where SKILLOPT_REQUIRE_ENGINE is set, that is a failure."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from itertools import count, cycle
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal import entropy

from harnesses.agents.registry import CLI_AGENTS
from harnesses.gateway.llamacpp import SMOLLM2, weights
from harnesses.gateway.patience import Patience
from harnesses.gateway.upstreams import UnusableUpstreamError
from sandboxes.base import EngineUnavailableError
from sandboxes.docker import DockerEngine
from sandboxes.docker_backend import DockerBackend
from tests.helpers.cells import ALL_CELLS, examples
from tests.helpers.chromium import chromium
from tests.helpers.small import COMMON

# How long an example takes, to draw or to run, depends on what else the machine does: the first
# text alone takes a second, in a process that has no table of all characters yet.
settings.register_profile(
    "tests",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")
# No test draws from numpy, whose generator would be saved and restored for every example.
entropy.NP_RANDOM = random

SHARD = "SKILLOPT_TEST_SHARD"
"""Which of how many processes this is that share the tests: "2/3" for the second of three."""

REQUIRED = os.environ.get("SKILLOPT_REQUIRE_ENGINE") == "1"


def _engine_error() -> str:
    try:
        with DockerEngine():
            return ""
    except EngineUnavailableError as error:
        return str(error)


MEMORY = Path("/dev/shm")


def _keeps_in_memory() -> bool:
    """Whether there is a file system in memory that holds what tests write, and runs programs."""
    if not os.access(MEMORY, os.W_OK):
        return False
    found = os.statvfs(MEMORY)
    runs_programs = not found.f_flag & getattr(os, "ST_NOEXEC", 0)
    return runs_programs and found.f_bavail * found.f_frsize > 2**30


def pytest_configure(config: pytest.Config) -> None:
    """A shell that starts tests in the background has them ignore Ctrl-C, and with them the
    programs that tests start and interrupt.

    Tests write sixty thousand files and remove as many folders, which takes a disk half as long as
    all the rest. Engines of containers, though, may see the disk alone.
    """
    if "not engine" in config.getoption("markexpr") and _keeps_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
        os.environ.setdefault("TMPDIR", str(MEMORY))
        tempfile.tempdir = None  # What was found before is not looked for again.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    host, patience_s, _, *others = DockerBackend.__init__.__defaults__ or ()
    DockerBackend.__init__.__defaults__ = (host, patience_s, FILES, *others)
    # Images of Python often set it; hundreds of programs would each compile the project anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _browser_error() -> str:
    return "" if chromium() else "no chromium on the PATH; install it (Debian: chromium)"


def _weights_error() -> str:
    try:
        weights(SMOLLM2)
    except UnusableUpstreamError as error:
        return str(error)
    return "" if find_spec("xllamacpp") else "llama.cpp is not installed"


FILES = os.environ.get("SKILLOPT_TEST_FILES", "auto")
"""How files get into the containers of tests that do not say it: see ``DockerBackend``."""

NEEDS = {"engine": _engine_error, "browser": _browser_error, "weights": _weights_error}
"""By marker: what is wrong with what its tests need; empty when nothing is."""


def _require(marker: str, error: str) -> None:
    if error and REQUIRED:
        pytest.exit(f"SKILLOPT_REQUIRE_ENGINE=1, and no {marker}: {error}", returncode=1)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of the processes that share out the tests, the first alone can say it and end the others."""
    if REQUIRED and session.config.getoption("numprocesses", None):
        for marker, error_of in NEEDS.items():
            _require(marker, error_of())


OWN_TABLES = ("services", "benchmarks")
"""Folders of tests that choose themselves which agent meets which case."""
EVERYWHERE = ("test_isolation.py", "test_redteam.py", "test_harnesses.py")
"""Tests that every agent but OpenCode meets in every run: what keeps the user's machine safe."""


def _without_repetition(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``make test-all`` alone runs: of the agents' programs, each test with the
    engine meets one, in turn, and OpenCode, which takes five seconds to start, one of each file."""
    if ALL_CELLS:
        return
    agents = {item: _agent_of(item) for item in items}
    named: dict[tuple[Path, str], set[str]] = {}
    for item, agent in agents.items():
        named.setdefault(_test_of(item), set()).add(agent)
    slow: set[Path] = set()
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item, agent in agents.items():
        if not agent or item.path.parent.name in OWN_TABLES:
            keep = True
        elif agent == "opencode":
            keep = item.path not in slow
            slow.add(item.path)
        else:
            usual = sorted(named[_test_of(item)] & {"claude-code", "codex"})
            turn = usual[crc32(_test_of(item)[1].encode()) % len(usual)]
            keep = item.path.name in EVERYWHERE or agent == turn
        (kept if keep else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def _agent_of(item: pytest.Item) -> str:
    """The agent's program that a test with the engine runs; empty if its table names none."""
    values = getattr(getattr(item, "callspec", None), "params", {}).values()
    named = [value for value in values if isinstance(value, str) and value in CLI_AGENTS]
    return named[0] if named and item.get_closest_marker("engine") else ""


def _test_of(item: pytest.Item) -> tuple[Path, str]:
    return item.path, getattr(item, "originalname", "")


@pytest.hookimpl(trylast=True)  # What -m leaves out needs nothing.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _without_repetition(config, items)
    for marker, error_of in NEEDS.items():
        needing = [item for item in items if item.get_closest_marker(marker)]
        error = error_of() if needing else ""
        _require(marker, error)
        if error:
            for item in needing:
                item.add_marker(pytest.mark.skip(reason=f"no {marker}: {error.splitlines()[0]}"))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Of several shards each has its files."""
    number, _, shards = os.environ.get(SHARD, "").partition("/")
    if not shards or collection_path.suffix != ".py":
        return None
    return _shards(int(shards)).get(collection_path, 0) != int(number) - 1 or None


@cache
def _shards(number: int) -> dict[Path, int]:
    """Which shard has which file. Dealt out by size, to and fro, they take about as long as each
    other."""
    found = Path(__file__).parent.rglob("*.py")
    order = sorted(found, key=lambda path: (path.stat().st_size, path))
    turns = cycle([*range(number), *reversed(range(number))])
    return dict(zip(order, turns, strict=False))


def pytest_collection() -> None:
    """What is there after the collection of tests is never garbage: nobody need look for any."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session")
def backend() -> Iterator[DockerBackend]:
    with closing(DockerBackend()) as running:
        yield running


@pytest.fixture(scope="session")
def engine(backend: DockerBackend) -> DockerEngine:
    return backend.engine


class _Impatient:
    """``asyncio`` for uvicorn, which looks ten times a second whether it is to end, then waits."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


@pytest.fixture(autouse=True, scope="session")
def no_time_is_lost() -> Iterator[None]:
    """Hundreds of tests start a gateway or a model service, and more make a client of one.

    Each client would read all certificates of the machine, to speak through a Unix socket. And
    nobody takes out the plug: killed processes lose nothing that the kernel has.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("uvicorn.server.asyncio", _Impatient())
        patched.setattr(os, "fsync", lambda fd: None)
        patched.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway asks a service that fails again, but does not wait for seconds before."""
    monkeypatch.setattr(Patience, "pause", lambda self, failures, told_s: told_s or 0.01 * failures)


@pytest.fixture(autouse=True, scope="session")
def what_is_made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of several processes that run tests each has a folder of its own within the run's."""
    own = tmp_path_factory.getbasetemp()
    several = {"PYTEST_XDIST_WORKER", SHARD} & os.environ.keys()
    os.environ[COMMON] = str(own.parent if several else own)


HOMES = count()


@pytest.fixture(autouse=True)
def nothing_of_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test reads or writes the agent directories of whoever runs the tests."""
    # Not in tmp_path, which most tests do not need.
    home = tmp_path_factory.getbasetemp() / f"home-{next(HOMES)}"
    for name in ("HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
