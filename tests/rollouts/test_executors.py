"""The executor of this machine, its slots, and who asks the optimizer; without sandboxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import Budget
from harnesses.gateway.gateway import Gateway
from sandboxes.base import SandboxError
from skillopt.config.schema import Config, SandboxConfig
from skillopt.core.import_path import PluginError
from skillopt.rollouts import executors as module
from skillopt.rollouts import questions as questions_module
from skillopt.rollouts.executors import ExecutorSetup, LocalExecutor, check_executor, make_executor
from skillopt.rollouts.identity import KEYS_ADDED_LATER, without_later
from skillopt.rollouts.questions import Questions, asked_by
from skillopt.rollouts.slots import SandboxSlots, open_backend, sandbox_identity
from tests.helpers.values import a_task


@dataclass
class FakeOutlet:
    access: Any
    socket: Any
    closed: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    asked: int = 0

    def visits(self) -> tuple[()]:
        self.asked += 1
        return ()

    def connect(self) -> str:
        return "net"

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeBackend:
    """A backend that writes down what it is asked."""

    name: str = "fake"
    images: bool = True
    isolated: bool = True
    outlets: list[FakeOutlet] = field(default_factory=list)
    closed: int = 0
    cleaned: int = 0

    def outlet(self, access: Any, socket: Any) -> FakeOutlet:
        self.outlets.append(FakeOutlet(access, socket))
        return self.outlets[-1]

    def clean(self) -> None:
        self.cleaned += 1

    def close(self) -> None:
        self.closed += 1


GATEWAY: Any = SimpleNamespace(socket=Path("/gateway.sock"))


def test_each_slot_has_a_site_and_a_verifier_of_its_own() -> None:
    backend = FakeBackend()
    with SandboxSlots(GATEWAY, cast(Any, backend), 2) as slots:
        assert [outlet.socket for outlet in backend.outlets] == [GATEWAY.socket, None] * 2
        with slots.site() as one, slots.site() as two:
            assert one is not two and one.outlet is not two.outlet
        with slots.site() as again:
            assert again is two
        assert backend.outlets[2].asked == 2, "visits of the rollout before are dropped"
        with slots.verifier() as first, slots.verifier() as second:
            assert first is not second
        with slots.verifier() as third:
            assert third is second
        assert not any(outlet.closed for outlet in backend.outlets)
    assert all(outlet.closed for outlet in backend.outlets)


def test_what_verifiers_may_reach_is_their_own_and_recorded() -> None:
    backend = FakeBackend()
    SandboxSlots(GATEWAY, cast(Any, backend), 1, "none", ("pypi.org",))
    agents, verifiers = (outlet.access for outlet in backend.outlets)
    assert agents != verifiers and verifiers.recorded and not agents.recorded


@pytest.mark.parametrize(
    ("section", "identified"),
    [
        ({"kind": "docker"}, {"kind": "docker"}),
        ({"kind": "docker", "options": {"files": "copied"}}, {"kind": "docker"}),
        ({"kind": "docker", "options": {"without_limits": True}}, {"kind": "docker"}),
        (
            {"kind": "docker", "options": {"host": "h"}},
            {"kind": "docker", "options": {"host": "h"}},
        ),
        ({"kind": "local", "network": "registries"}, {"kind": "local", "network": "registries"}),
        ({"kind": "local", "root": False}, {"kind": "local", "root": False}),
        ({"kind": "a:B", "options": {"files": 1}}, {"kind": "a:B", "options": {"files": 1}}),
    ],
)
def test_a_sandbox_is_known_by_what_an_agent_notices(
    section: dict[str, Any], identified: dict[str, Any]
) -> None:
    config: Any = SimpleNamespace(sandbox=SandboxConfig.model_validate(section))
    found = sandbox_identity(config, {})
    assert found.pop("limits") == config.sandbox.limits.model_dump(mode="json")
    assert found == identified
    assert sandbox_identity(config, {"sandbox": "x", "verifier": "y"})["own"] == "x"


def test_keys_that_came_later_count_if_they_are_set() -> None:
    harness = {"mount": "native", "mode": "interactive", "name": "codex"}
    assert without_later("harness", harness) == {"mode": "interactive", "name": "codex"}
    assert without_later("unknown", harness) == harness
    for section, values in KEYS_ADDED_LATER.items():
        assert without_later(section, values) == {}


class Odd:
    """A backend that lacks nearly all."""

    def sandbox(self, spec: Any) -> Any: ...


def test_a_backend_without_a_member_is_refused() -> None:
    with pytest.raises(PluginError, match=r"sandbox\.kind: .*Odd: a backend also has .*outlet"):
        open_backend(SandboxConfig(kind=f"{__name__}:Odd"))


def config_of(**values: Any) -> Any:
    base: dict[str, Any] = {
        "sandbox": SandboxConfig(kind="docker", verifier_network="registries"),
        "names_cli_agent": False,
        "harness": SimpleNamespace(name="codex"),
        "workers": 2,
        "runs": Path("/nowhere/runs"),
        "executor": SimpleNamespace(kind="local"),
        "optimizer": SimpleNamespace(harness=None),
    }
    return SimpleNamespace(**base | values)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    made = FakeBackend()
    for each in (module, questions_module):
        monkeypatch.setattr(each, "open_backend", lambda section: made)
    return made


def entered(backend: FakeBackend, **values: Any) -> LocalExecutor:
    setup: Any = ExecutorSetup(cast(Config, config_of(**values)), cast(Gateway, GATEWAY))
    return LocalExecutor(setup)


def test_sandboxes_are_opened_cleaned_and_closed(backend: FakeBackend) -> None:
    executor = entered(backend)
    executor.cancel()
    assert not backend.closed, "it has none yet"
    with executor:
        assert (backend.cleaned, len(backend.outlets)) == (1, 4)
        executor.cancel()
        closed = backend.closed
    assert (closed, backend.closed) == (1, 2) and all(outlet.closed for outlet in backend.outlets)
    answers = executor._answers()
    other = entered(backend, sandbox=SandboxConfig(kind="docker"))._answers()
    assert answers.folder == Path("/nowhere/runs/store/verifiers")
    assert answers.verifier != other.verifier and len(answers.verifier) == 64


def test_an_agent_that_the_sandboxes_cannot_run_ends_the_start(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def check_backend(name: str, traits: Any, *more: Any) -> None:
        asked.append(name)
        raise SandboxError("it runs no agents")

    monkeypatch.setattr(module, "check_backend", check_backend)
    with entered(backend):
        assert not asked
    with pytest.raises(SandboxError, match="no agents"):
        entered(backend, names_cli_agent=True).__enter__()
    assert asked == ["codex"] and backend.closed == 2


def test_an_attempt_is_checked_and_run_in_a_slot(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    for name in ("check_folders", "check_images"):
        monkeypatch.setattr(module, name, lambda task, traits: seen.append((task.name, traits)))
    monkeypatch.setattr(module, "check_backend", lambda name, traits: seen.append(name))
    monkeypatch.setattr(module, "run_job", lambda *arguments: arguments)
    from harnesses.agents.registry import make_harness

    with entered(backend) as executor:
        for harness in ("direct", "codex"):
            job: Any = SimpleNamespace(harness=make_harness(harness), task=a_task())
            ran: Any = executor.attempt(job, tmp_path)
            assert ran[0] is job and ran[-1] == tmp_path and ran[1].gateway is GATEWAY
    assert seen == [("task-1", backend)] * 2 + ["codex"] + [("task-1", backend)] * 2


@pytest.mark.parametrize(("root", "handover"), [(True, "auto"), (False, "workdir")])
def test_sandboxes_and_tests_are_as_the_config_says(
    root: bool, handover: Any, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []
    closed: list[str] = []

    def environments(backend: Any, **values: Any) -> Any:
        made.append((backend, values))
        return SimpleNamespace(close=lambda: closed.append("environments"))

    def slots(*values: Any) -> Any:
        made.append(values)
        return SandboxSlots(*values)

    monkeypatch.setattr(module, "Environments", environments)
    monkeypatch.setattr(module, "SandboxSlots", slots)
    sandbox = SandboxConfig(
        kind="docker", root=root, handover=handover, network="open", verifier_network="registries"
    )
    executor = entered(backend, sandbox=sandbox, workers=3)
    with executor as found:
        assert found is executor and not closed
    (*of_slots, answers), of_tests = made
    assert of_slots == [GATEWAY, backend, 3, "open", "registries"]
    assert answers.folder == executor._answers().folder
    assert of_tests == (backend, {"root": root, "handover": handover})
    assert closed == ["environments"]


def test_executors_are_named() -> None:
    config: Any = config_of(executor=SimpleNamespace(kind=f"{__name__}:Own"))
    made: Any = make_executor(config, GATEWAY)
    assert made.setup.config is config and made.setup.gateway is GATEWAY
    check_executor(config)
    assert isinstance(make_executor(config_of(), GATEWAY), LocalExecutor)
    with pytest.raises(PluginError, match=r"executor\.kind"):
        check_executor(cast(Any, config_of(executor=SimpleNamespace(kind=f"{__name__}:Odd"))))


class Own:
    def __init__(self, setup: Any) -> None:
        self.setup = setup

    def attempt(self, job: Any, folder: Path) -> Any: ...


def test_ray_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = config_of(executor=SimpleNamespace(kind="ray"))
    check_executor(config)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match=r"pip install skillopt-harness\[ray\]"):
        check_executor(config)


# The optimizer, asked by an agent.


def asking(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, agent: bool = True) -> Questions:
    found = SimpleNamespace(name="codex", label={"name": "codex", "version": "1"}, toolchain=None)
    monkeypatch.setattr(questions_module, "asked_agent", lambda name: found)
    monkeypatch.setattr(questions_module, "check_backend", lambda *arguments: None)
    config = config_of(optimizer=SimpleNamespace(harness="codex" if agent else None))
    assert asked_by(config) == ({"harness": found.label} if agent else {})
    return Questions(config, GATEWAY)


@pytest.mark.parametrize(("own", "silence_s"), [(None, 1800.0), (9.0, 9.0)])
def test_an_agent_asks_in_a_sandbox_that_is_opened_once(
    own: float | None, silence_s: float, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats: list[Any] = []
    monkeypatch.setattr(questions_module, "AgentChat", lambda *args: chats.append(args))
    questions = asking(backend, monkeypatch)
    session: Any = SimpleNamespace(grant=SimpleNamespace(silence_s=own))
    for _ in range(2):
        with questions.open(session):
            pass
    assert [chat[1] for chat in chats] == [session] * 2 and chats[0][3] == silence_s
    assert len({id(chat[2].backend) for chat in chats}) == 1
    assert questions.budget == Budget(requests=24)
    questions.close()
    questions.close()
    assert backend.closed == 1 and all(outlet.closed for outlet in backend.outlets)


def test_without_an_agent_the_project_asks(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = asking(backend, monkeypatch, agent=False)
    questions.check()
    assert questions.budget == Budget() and not backend.outlets
    questions.cancel()
    questions.close()
    assert not backend.closed


def test_nothing_is_asked_after_the_end(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = asking(backend, monkeypatch)
    questions.cancel()
    with (
        pytest.raises(SandboxError, match="the run is being ended"),
        questions.open(cast(Any, SimpleNamespace(grant=SimpleNamespace(silence_s=None)))),
    ):
        pass
    assert not backend.outlets


def test_the_sandboxes_of_an_agent_that_asks_end_with_the_run(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = asking(backend, monkeypatch)
    monkeypatch.setattr(questions_module, "AgentChat", lambda *arguments: None)
    with questions.open(cast(Any, SimpleNamespace(grant=SimpleNamespace(silence_s=None)))):
        pass
    questions.cancel()
    assert backend.closed == 1
