"""How a node is set up and what of it is undone if that fails: without a guard, an engine or a
gateway, which are the test's own."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sandboxes.docker
import sandboxes.images
from harnesses.agents.registry import agent_kind, make_harness
from sandboxes.base import SandboxError
from sandboxes.images import AGENT_BASE_IMAGE, RELAY_IMAGE
from skillopt.config.schema import SandboxConfig
from skillopt.core.types import Rollout
from skillopt.rollouts.cluster import node as module
from skillopt.rollouts.cluster.messages import Beat, NodeOrders, Pulse
from skillopt.rollouts.cluster.node import Node
from skillopt.rollouts.cluster.parcels import Parcel, packed
from skillopt.rollouts.executors import ExecutorSetup

CODEX = agent_kind("codex").toolchain("")


@dataclass
class Lab:
    """What a node works with, and what it did, in order."""

    folder: Path
    said: list[str] = field(default_factory=list)
    guards: list[tuple[Any, ...]] = field(default_factory=list)
    alive: int = 0
    gateways: list[tuple[Any, ...]] = field(default_factory=list)
    setups: list[ExecutorSetup] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    watching: threading.Event = field(default_factory=threading.Event)
    roots: list[Path] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    fails: dict[str, Exception] = field(default_factory=dict)
    """What a step raises, by its name."""
    node: Node = field(default_factory=lambda: Node(lambda: None))

    def step(self, name: str) -> None:
        self.said.append(name)
        if name in self.fails:
            raise self.fails[name]

    @contextmanager
    def lasting(self, name: str, value: Any) -> Iterator[Any]:
        self.step(name)
        try:
            yield value
        finally:
            self.said.append(f"no {name}")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab(tmp_path / "scratch")

    def guard(*values: Any) -> Any:
        made.guards.append(values)

        def alive() -> None:
            made.alive += 1

        return made.lasting("guard", SimpleNamespace(alive=alive))

    def scratch_dir() -> Path:
        made.folder.mkdir(exist_ok=True)
        return made.folder

    def check_room(folder: Path) -> None:
        made.roots.append(folder)
        made.step("room")

    def own_parts(config: Any) -> dict[str, str]:
        made.step("parts")
        assert config.runs == made.roots[-1], "plugins may look there"
        return made.parts

    def open_gateway(*values: Any) -> Any:
        made.gateways.append(values)
        gateway = SimpleNamespace(upstreams={}, close=lambda: None)
        return made.lasting("gateway", gateway)

    def executor(setup: ExecutorSetup) -> Any:
        made.setups.append(setup)
        return made.lasting("executor", SimpleNamespace(cancel=lambda: None))

    def watch(silence_s: float) -> None:
        made.watched.append(silence_s)
        made.watching.set()

    monkeypatch.setattr(module, "Guard", guard)
    monkeypatch.setattr(module, "scratch_dir", scratch_dir)
    monkeypatch.setattr(module, "check_room", check_room)
    monkeypatch.setattr(module, "own_parts", own_parts)
    monkeypatch.setattr(module, "open_gateway", open_gateway)
    monkeypatch.setattr(module, "LocalExecutor", executor)
    monkeypatch.setattr(module, "check_keys", lambda names, file: None)
    monkeypatch.setattr(made.node, "_watch", watch)
    return made


def orders(**values: Any) -> NodeOrders:
    config = {
        "name": "n",
        "tasks": {"source": "words"},
        "skill": {"init": "empty", "name": "n", "description": "d"},
        "harness": {"name": "direct"},
        "sandbox": {"kind": "local"},
        "target": {"upstream": "sim", "name": "sim-1"},
        "optimizer": {"upstream": "sim", "name": "sim-1"},
        "upstreams": {"sim": {"kind": "sim"}},
        **values,
    }
    prices: Any = SimpleNamespace(cost="price of a call")
    return NodeOrders(config, prices, {}, (), "", 3, 30.0)


def test_a_node_is_set_up_below_its_guard_and_left_in_the_opposite_order(lab: Lab) -> None:
    assert lab.node.open(orders()) == ""
    assert lab.said == ["guard", "room", "parts", "gateway", "executor"]
    assert lab.guards == [("local", {}, 35.0)], "it outlasts the node's own patience"
    assert lab.watching.wait(5) and lab.watched == [30.0]
    (root,) = lab.roots
    assert root.parent == lab.folder and root.name.startswith("node-")
    assert [path.name for path in root.iterdir()] == ["rollouts"]
    ((config, given, price, on_wait, on_plan),) = lab.gateways
    assert (config.runs, config.workers, given, price) == (root, 3, {}, "price of a call")
    (setup,) = lab.setups
    assert setup.config is config and not setup.gateway.upstreams
    on_wait("a wait")
    on_plan("a plan's use")
    lab.node._open.gateway.blocked = lambda name: ""  # type: ignore[union-attr,method-assign]
    news: list[Any] = [*lab.node.beat(Beat({}, {}, {})).news]
    assert news == ["a wait", "a plan's use"]
    assert lab.alive == 1
    lab.node.close()
    assert lab.said[5:] == ["no executor", "no gateway", "no guard"]
    assert not lab.folder.exists(), "nothing is left, its scratch folder neither"


def test_a_scratch_folder_with_files_of_another_stays(lab: Lab) -> None:
    assert lab.node.open(orders()) == ""
    (lab.folder / "other").mkdir()
    lab.node.close()
    assert [path.name for path in lab.folder.iterdir()] == ["other"]
    assert lab.said[-1] == "no guard"


def test_the_guard_is_told_how_to_clean_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.node, "_build", lambda *values: None)
    sandbox = {"kind": "docker", "options": {"host": "tcp://10.0.0.1:1"}}
    assert lab.node.open(replace(orders(sandbox=sandbox), silence_s=4.0)) == ""
    assert lab.guards == [("docker", {"host": "tcp://10.0.0.1:1"}, 9.0)]


STEPS = ["guard", "room", "parts", "gateway", "executor"]


@pytest.mark.parametrize("count", range(1, len(STEPS) + 1))
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SandboxError("it cannot be"), "it cannot be"),
        (OSError(errno.ENOSPC, "No space left"), "No space left"),
    ],
)
def test_what_was_set_up_before_a_step_failed_is_undone(
    count: int, error: Exception, said: str, lab: Lab
) -> None:
    lab.fails = {STEPS[count - 1]: error}
    assert lab.node.open(orders()).endswith(said)
    lasting = [name for name in STEPS[: count - 1] if name in ("guard", "gateway", "executor")]
    assert lab.said == [*STEPS[:count], *(f"no {name}" for name in reversed(lasting))]
    assert not lab.folder.exists()
    assert lab.node.beat(Beat({}, {}, {})) == Pulse({}, {}, (), {}, {}), "it is not open"
    assert lab.node._closed.is_set(), "it does not watch any more"


def test_the_users_own_parts_are_compared(lab: Lab) -> None:
    lab.parts = {"verifier": "abc"}
    asked = replace(orders(), parts={"verifier": "x"})
    assert "your own verifier is not" in lab.node.open(asked)
    assert lab.said == ["guard", "room", "parts", "no guard"] and not lab.watched


def test_parts_that_are_the_drivers_are_used(lab: Lab) -> None:
    lab.parts = {"verifier": "abc"}
    assert lab.node.open(replace(orders(), parts={"verifier": "abc"})) == ""


def test_a_node_that_is_closed_while_it_is_set_up_is_not_open_afterwards(lab: Lab) -> None:
    lab.node.close()
    assert lab.node.open(orders()) == "the node is being closed"
    assert lab.said[-3:] == ["no executor", "no gateway", "no guard"]


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        ({"sandbox": {"kind": "local"}}, None),
        ({"sandbox": {"kind": "docker"}}, [AGENT_BASE_IMAGE, RELAY_IMAGE]),
        (
            {"sandbox": {"kind": "docker"}, "harness": {"name": "codex"}},
            [AGENT_BASE_IMAGE, RELAY_IMAGE, CODEX.image],
        ),
        (
            {"sandbox": {"kind": "docker"}, "harness": {"name": "codex", "version": "0.1.2"}},
            [AGENT_BASE_IMAGE, RELAY_IMAGE, "skillopt/toolchain-codex:0.1.2"],
        ),
    ],
)
def test_the_images_that_rollouts_need_are_there_before_the_first(
    values: dict[str, Any], tags: list[str] | None, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[Any, ...]] = []
    monkeypatch.setattr(lab.node, "_build", lambda *values: built.append((*values, *lab.said)))
    assert lab.node.open(orders(**values)) == ""
    if tags is None:
        assert not built
        return
    ((config, wanted, chosen, *before),) = built
    assert config.runs == lab.roots[0] and wanted == tags
    assert [chain.image for chain in chosen] == tags[2:]
    assert before == ["guard", "room", "parts"], "what it leaves is cleaned up"


class FakeEngine:
    """An engine with some images."""

    hosts: list[Any]
    there: set[str]
    closed: int

    def __init__(self, host: Any) -> None:
        type(self).hosts.append(host)

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        type(self).closed += 1


@pytest.mark.parametrize(
    ("tags", "there", "built"),
    [
        (["agent", "relay", "codex"], [], ["agent", "relay", "codex"]),
        (["agent", "relay", "codex"], ["relay"], ["agent", "codex"]),
        (["agent", "relay", "codex"], ["agent", "relay", "codex"], []),
        (["codex"], [], ["codex"]),
        (["agent", "relay"], [], ["agent", "relay"]),
    ],
)
@pytest.mark.parametrize(
    ("options", "host"), [({}, None), ({"host": "tcp://a:1"}, "tcp://a:1"), ({"host": 3}, None)]
)
def test_of_the_images_those_are_built_that_are_wanted_and_not_there(
    tags: list[str], there: list[str], built: list[str], options: Any, host: Any,
    lab: Lab, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    names = {"agent": AGENT_BASE_IMAGE, "relay": RELAY_IMAGE, "codex": CODEX.image}
    done: list[str] = []

    class Engine(FakeEngine):
        hosts: list[Any] = []  # noqa: RUF012
        closed = 0

    def image_id(engine: Any, tag: str) -> str | None:
        assert isinstance(engine, Engine) and not Engine.closed
        return tag if tag in {names[name] for name in there} else None

    def build(engine: Any, spec: Any) -> None:
        assert isinstance(engine, Engine) and not Engine.closed
        done.append(spec.tag)

    monkeypatch.setattr(sandboxes.docker, "DockerEngine", Engine)
    monkeypatch.setattr(sandboxes.images, "image_id", image_id)
    monkeypatch.setattr(sandboxes.images, "build", build)
    config: Any = SimpleNamespace(sandbox=SimpleNamespace(options=options))
    lab.node._build(config, [names[name] for name in tags], [CODEX])
    assert done == [names[name] for name in built]
    assert (Engine.hosts, Engine.closed) == ([host], 1)


def test_a_job_that_has_come_is_run_with_its_files_and_its_agents_image(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert lab.node.open(orders(sandbox={"kind": "local"})) == ""
    opened = lab.node._open
    assert opened is not None
    opened.config = opened.config.model_copy(
        update={"sandbox": SandboxConfig.model_validate({"kind": "docker"})}
    )
    built: list[Any] = []
    monkeypatch.setattr(lab.node, "_build", lambda *values: built.append(values))
    (tmp_path / "word").write_text("hello")
    lab.node.put(Parcel("d1", "word", packed(tmp_path / "word", "word"), True))
    job = SimpleNamespace(harness=make_harness("codex"))
    monkeypatch.setattr(opened.receiver, "loads", {b"job": job}.__getitem__)

    class RefusedError(Exception):
        pass

    def attempt(job: Any, folder: Path) -> Rollout:
        ((config, tags, chosen),) = built
        assert config is opened.config and tags == [chain.image for chain in chosen] == [
            CODEX.image
        ]
        place = lab.roots[0] / "inputs" / "d1" / "word" / "word"
        assert job.harness.name == "codex" and place.read_text() == "hello"
        assert folder == lab.roots[0] / "rollouts" / "5"
        raise RefusedError

    monkeypatch.setattr(opened.executor, "attempt", attempt, raising=False)
    for _ in range(2):
        with pytest.raises(RefusedError):
            lab.node.attempt(5, b"job", b"")
    assert opened.images == {CODEX.image}
