"""What the driver's part hands to its nodes when it is entered, and what it waits for; the cluster
and the fleet are stand-ins of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import Usage
from skillopt.config.schema import Config
from skillopt.core.import_path import PluginError
from skillopt.rollouts.cluster import executor as module
from skillopt.rollouts.cluster.executor import RayExecutor
from skillopt.rollouts.cluster.machines import ClusterError
from skillopt.rollouts.cluster.messages import NodeOrders
from skillopt.rollouts.executors import ExecutorSetup
from skillopt.rollouts.plugins import Plugins
from skillopt.run.records import Noted
from skillopt.sim.model import SimUpstream

HTTP = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"}
OWN = {"kind": "skillopt.sim.model:SimUpstream"}


def config_of(**values: Any) -> Config:
    return Config.model_validate(
        {
            "name": "n",
            "seed": 7,
            "tasks": {"source": "words"},
            "skill": {"init": "empty", "name": "n", "description": "d"},
            "harness": {"name": "direct"},
            "sandbox": {"kind": "local"},
            "executor": {"kind": "ray"},
            "target": {"upstream": "main", "name": "m"},
            "optimizer": {"upstream": "second", "name": "m"},
            "upstreams": {
                "main": {**HTTP, "key_env": "KEY_A"},
                "second": {**HTTP, "key_env": "KEY_B"},
                "sim": {"kind": "sim"},
                "own": OWN,
            },
            **values,
        }
    )


@dataclass
class Lab:
    said: list[Any] = field(default_factory=list)
    made: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    options: list[Any] = field(default_factory=list)
    none: bool = False
    """Whether no node comes up."""

    def executor(self, config: Config, **plugins: Any) -> RayExecutor:
        upstreams = {
            name: SimpleNamespace(max_concurrency=number)
            for number, name in enumerate(config.upstreams, start=3)
        }
        gateway: Any = SimpleNamespace(upstreams=upstreams)
        setup = ExecutorSetup(config, gateway, Plugins(**plugins), self.events.append)
        return RayExecutor(setup)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()

    class Machines:
        def __init__(self, options: Any) -> None:
            made.options.append(options)

        def want(self, nodes: int) -> None:
            made.said.append(("want", nodes))

        def close(self) -> None:
            made.said.append("cluster left")

    class FakeFleet:
        def __init__(self, *values: Any) -> None:
            made.made.append(values)

        def __enter__(self) -> FakeFleet:
            made.said.append("entered")
            return self

        def __exit__(self, *exc: object) -> None:
            made.said.append("nodes closed")

        def cancel(self) -> None:
            made.said.append("cancelled")

        def wait_for(self, nodes: int, wait_s: float) -> None:
            made.said.append(("wait", nodes, wait_s))
            if made.none:
                raise ClusterError("no node")

    monkeypatch.setattr(module, "RayMachines", Machines)
    monkeypatch.setattr(module, "Fleet", FakeFleet)
    return made


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [("wait", 1, 120.0)]),
        ({"nodes": 2, "wait_s": 7}, [("want", 2), ("wait", 2, 7.0)]),
    ],
)
def test_nodes_are_asked_for_and_waited_for_until_the_run_ends(
    settings: dict[str, Any], steps: list[Any], lab: Lab
) -> None:
    config = config_of(executor={"kind": "ray", **settings})
    executor = lab.executor(config)
    with executor as entered:
        assert entered is executor and lab.said == ["entered", *steps]
        executor.cancel()
        assert lab.said.pop() == "cancelled"
    assert lab.said == ["entered", *steps, "nodes closed", "cluster left"]
    assert lab.options == [config.executor]


def test_without_a_node_the_cluster_is_left(lab: Lab) -> None:
    lab.none = True
    executor = lab.executor(config_of())
    with pytest.raises(ClusterError, match="no node"):
        executor.__enter__()
    assert lab.said[-2:] == ["nodes closed", "cluster left"]
    executor.__exit__(None, None, None)
    assert lab.said.count("cluster left") == 1


def test_the_fleet_has_the_limits_of_services_that_count_for_all_nodes(lab: Lab) -> None:
    executor = lab.executor(config_of())
    with executor:
        ((_, _, gateway, limits, driver, main, note),) = lab.made
        assert gateway is executor._setup.gateway
        assert limits == {"main": 3, "second": 4, "own": 6}, "each node has its own simulation"
        assert (driver, main) == (frozenset({"second"}), "main")
        note("node a is used")
        (told,) = lab.events
        assert isinstance(told, Noted) and told.text == "node a is used"


def orders_of(lab: Lab, **values: Any) -> NodeOrders:
    with lab.executor(config_of(**values)):
        return cast(NodeOrders, lab.made[-1][1])


def test_the_orders_of_a_node_are_the_runs_config_and_what_it_needs_besides(
    lab: Lab, tmp_path: Path
) -> None:
    options = {"kind": "ray", "slots": 5, "silence_s": 4, "keys_file": "/run/keys"}
    (tmp_path / "p.yaml").write_text(
        "date: 2026-01-01\nmodels:\n  m: {prompt: 1, cached: 1, completion: 2}\n"
    )
    values: dict[str, Any] = {"executor": options, "prices": tmp_path / "p.yaml"}
    found = orders_of(lab, **values)
    assert (found.slots, found.silence_s, found.keys_file) == (5, 4.0, "/run/keys")
    assert found.keys == ("KEY_A",), "the optimizer's stays here"
    assert Config.model_validate(found.config) == config_of(**values)
    assert "patience" not in found.config and found.config["seed"] == 7
    used = Usage(requests=1, prompt_tokens=10**6, completion_tokens=10**6)
    assert found.prices.cost("m", used) == 3.0
    assert set(found.parts) == {"upstreams.own"}


def test_a_node_reads_keys_from_its_environment_unless_a_file_is_named(lab: Lab) -> None:
    found = orders_of(lab)
    assert (found.slots, found.silence_s, found.keys_file) == (4, 10.0, "")


@pytest.mark.parametrize("name", ["main", "own"])
def test_an_upstream_that_is_an_object_is_refused_before_a_cluster_is_joined(
    name: str, lab: Lab
) -> None:
    given: dict[str, Any] = {name: SimUpstream()}
    with pytest.raises(PluginError, match=rf"upstream '{name}' .*in upstreams\.{name}\.kind"):
        lab.executor(config_of(), upstreams=given).__enter__()
    assert not lab.options and not lab.said
