"""Versions of the agents: pinned, newest and last tried; and trying one in real containers."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from harnesses.agents.releases import ReleaseError, newest_release
from skillopt.cli.doctor import release_checks
from skillopt.evaluation.agent_trial import AgentTrial, ModeTrial, remember, remembered
from tests.helpers.cells import ALL_CELLS
from tests.helpers.command_line import skillopt

GOOD = ModeTrial(tasks=3, without=0, solved=3, opened=3)


class Registry(BaseHTTPRequestHandler):
    """A registry with some documents."""

    documents: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        found = self.documents.get(self.path)
        self.send_response(200 if found is not None else 404)
        self.end_headers()
        self.wfile.write((found or "").encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    Registry.documents = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
        yield Registry.documents
        server.shutdown()


def released(documents: dict[str, str], agent: str, version: str, *, build: bool = True) -> None:
    toolchain = agent_kind(agent).toolchain(version)
    documents[f"/{toolchain.released_as}/latest"] = json.dumps({"version": version})
    if build:
        build = toolchain.build(platform.machine())
        documents[f"/{build.package}/{build.version}"] = "{}"


@pytest.mark.parametrize("agent", CLI_AGENTS)
def test_the_newest_release_is_the_registrys(agent: str, registry: dict[str, str]) -> None:
    released(registry, agent, "9.9.9")
    assert newest_release(agent) == "9.9.9"


def test_a_release_without_a_build_is_none(registry: dict[str, str]) -> None:
    """The two packages of OpenCode are not published at the same time."""
    released(registry, "opencode", "9.9.9", build=False)
    with pytest.raises(ReleaseError, match=r"9\.9\.9 has no build for this machine yet"):
        newest_release("opencode")


@pytest.mark.parametrize("answer", ["not json", "[]", "{}", '{"version": 3}'])
def test_an_answer_that_is_none_is_told(answer: str, registry: dict[str, str]) -> None:
    registry["/opencode-ai/latest"] = answer
    with pytest.raises(ReleaseError):
        newest_release("opencode")


def test_without_a_network_the_newest_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    done = skillopt("agents", "list")
    assert done.returncode == 0
    for agent in CLI_AGENTS:
        pinned = agent_kind(agent).toolchain(None).version
        line = next(each for each in done.stdout.splitlines() if each.startswith(agent))
        assert f"pinned {pinned}, newest unknown (no network: " in line
        assert line.endswith("last tried none")
    checks = list(release_checks())
    assert [check.ok for check in checks] == [True] * 3
    assert "newest unknown (no network" in checks[0].detail


def test_what_is_newer_and_what_was_tried_is_shown(registry: dict[str, str]) -> None:
    for agent in CLI_AGENTS:
        released(registry, agent, agent_kind(agent).toolchain(None).version)
    released(registry, "codex", "9.9.9")
    broken = ModeTrial(3, 0, 0, 0, "waited 60 s for the prompt")
    remember(AgentTrial("codex", "9.9.8", 0.0, {"batch": GOOD, "interactive": broken}))
    remember(AgentTrial("opencode", "1.0.0", 0.0, {"batch": GOOD, "interactive": GOOD}))
    codex, claude, opencode = [check.detail for check in release_checks()]
    assert "newest 9.9.9, last tried 9.9.8 on 19" in codex and "did not work" in codex
    assert "'skillopt agents try codex --version newest' tries it" in codex
    assert "tries it" not in claude and claude.endswith("last tried none")
    assert "1.0.0 on 19" in opencode and "which worked" in opencode
    told = json.loads(skillopt("agents", "list", "--json").stdout)
    assert told[0]["newest"] == "9.9.9" and told[0]["tried"]["works"] is False


def test_a_file_that_cannot_be_read_counts_as_not_tried(tmp_path: Path) -> None:
    remember(AgentTrial("codex", "1", 0.0, {"batch": GOOD}))
    file = tmp_path / "state" / "skillopt" / "agents.json"
    assert json.loads(file.read_text())["format"] == 1 and list(remembered()) == ["codex"]
    for text in ("{", '{"format": 2, "tried": {}}', '{"format": 1}', '{"format": 1, "tried": []}'):
        file.write_text(text)
        assert remembered() == {}


def test_a_mode_works_if_the_skill_alone_makes_the_difference() -> None:
    assert GOOD.works
    for bad in (
        ModeTrial(3, 1, 3, 3),
        ModeTrial(3, 0, 2, 3),
        ModeTrial(3, 0, 3, 2),
        ModeTrial(3, 0, 3, 3, "an unknown screen"),
    ):
        assert not bad.works


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("agent", CLI_AGENTS if ALL_CELLS else ["codex"])
def test_the_pinned_version_works(agent: str) -> None:
    done = skillopt("agents", "try", agent, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["works"] and set(told["modes"]) == {"batch", "interactive"}
    assert remembered()[agent] == told


@pytest.mark.engine
def test_a_version_that_does_not_exist_is_named() -> None:
    done = skillopt("agents", "try", "codex", "--version", "0.0.0-none")
    assert done.returncode == 3 and "0.0.0-none" in done.stderr
    assert "Traceback" not in done.stderr and remembered() == {}
