"""A user's own parts: which are loaded, refused, and identified by what."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.config.schema import Config
from skillopt.config.upstreams import OwnUpstreamConfig, SimConfig
from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.core.types import Reward, Task
from skillopt.rollouts.plugins import Plugins, identities, load_plugins
from skillopt.sim.model import SimUpstream


class Agent:
    """An agent of the user's own."""

    name = "mine"

    def version(self) -> Any:
        return "1"

    def run(self, request: Any, site: Any) -> Any: ...


def judge(task: Task, workspace: Path, answer: str, value: float = 1.0) -> Reward:
    return Reward(value)


def rank(edits: Any, briefing: Any) -> Any: ...


def other(edits: Any, briefing: Any) -> Any: ...


def config_of(**values: Any) -> Config:
    base: dict[str, Any] = {
        "harness": SimpleNamespace(name="direct"),
        "verifier": None,
        "train": SimpleNamespace(stages={}),
        "gate": SimpleNamespace(kind="strict"),
        "method": SimpleNamespace(kind="skillopt"),
        "sandbox": SimpleNamespace(kind="local"),
        "upstreams": {"sim": SimConfig(kind="sim")},
    }
    found: Any = SimpleNamespace(**base | values)
    return found  # type: ignore[no-any-return]


HERE = __name__
NAMED = {
    "harness": SimpleNamespace(name=f"{HERE}:Agent"),
    "verifier": f"{HERE}:judge",
    "train": SimpleNamespace(stages={"rank": f"{HERE}:rank"}),
}


def test_parts_are_loaded_by_their_paths() -> None:
    found = load_plugins(config_of(**NAMED), Plugins())
    assert type(found.harness).__name__ == "Agent" and found.verifier is judge
    assert dict(found.stages) == {"rank": rank}
    assert load_plugins(config_of(), Plugins()) == Plugins(stages={})


def test_objects_take_precedence() -> None:
    mine: Any = Agent()
    verifier = partial(judge, value=0.5)
    given = Plugins(mine, verifier, {"rank": other, "merge": rank})
    found = load_plugins(config_of(**NAMED), given)
    assert found.harness is mine and found.verifier is verifier
    assert dict(found.stages) == {"rank": other, "merge": rank}


class Nameless(Agent):
    name = None  # type: ignore[assignment]


class Numbered(Agent):
    def version(self) -> Any:
        return 1


class Broken(Agent):
    def version(self) -> Any:
        raise ValueError("no version")


class Idle(Agent):
    run = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("harness", "error", "message"),
    [
        (Nameless, PluginError, r"has no name; add an attribute 'name'"),
        (Numbered, OwnCodeError, r"it returned 1; return the version as text"),
        (Broken, OwnCodeError, r"raised ValueError: no version"),
        (Idle, PluginError, r"harness\.name: run"),
    ],
)
def test_a_harness_without_what_is_asked_of_it_is_refused(
    harness: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_plugins(config_of(), Plugins(harness()))


def test_a_verifier_that_cannot_be_called_is_refused() -> None:
    wrong: Any = lambda task: Reward(1.0)  # noqa: E731
    with pytest.raises(PluginError, match="verifier"):
        load_plugins(config_of(), Plugins(verifier=wrong))
    with pytest.raises(PluginError, match="verifier: "):
        load_plugins(config_of(verifier=f"{HERE}:missing"), Plugins())


class Gate:
    def __init__(self, margin: float = 0.0) -> None:
        self.margin = margin


def test_parts_of_the_projects_own_are_not_identified() -> None:
    assert identities(config_of(), Plugins()) == {}


@pytest.mark.parametrize(
    ("values", "plugins", "names"),
    [
        ({"gate": SimpleNamespace(kind=f"{HERE}:Gate")}, {}, {"gate"}),
        ({}, {"gate": Gate()}, {"gate"}),
        ({"method": SimpleNamespace(kind=f"{HERE}:Gate")}, {}, {"method"}),
        ({}, {"method": Gate()}, {"method"}),
        ({"sandbox": SimpleNamespace(kind=f"{HERE}:Gate")}, {}, {"sandbox"}),
        ({}, {"verifier": judge}, {"verifier"}),
        ({}, {"harness": Agent()}, {"harness"}),
        ({}, {"stages": {"rank": rank, "merge": other}}, {"stages.rank", "stages.merge"}),
        ({"upstreams": {"a": OwnUpstreamConfig(kind=f"{HERE}:Gate")}}, {}, {"upstreams.a"}),
        ({}, {"upstreams": {"sim": SimUpstream(), "unused": SimUpstream()}}, {"upstreams.sim"}),
    ],
)
def test_each_part_is_identified_by_its_name(
    values: dict[str, Any], plugins: dict[str, Any], names: set[str]
) -> None:
    assert set(identities(config_of(**values), Plugins(**plugins))) == names


def test_another_value_is_another_part_but_for_services() -> None:
    def found(**plugins: Any) -> dict[str, str]:
        return identities(config_of(), Plugins(**plugins))

    assert found(gate=Gate(0.1)) != found(gate=Gate(0.2)) and found(gate=Gate()) == found(
        gate=Gate()
    )
    half = found(verifier=partial(judge, value=0.5))
    assert half != found(verifier=judge) and half == found(verifier=partial(judge, value=0.5))
    # Attributes of a service are clients and counters, and change as it is used.
    services = [found(upstreams={"sim": SimUpstream(noise=noise)}) for noise in (0.0, 0.5)]
    assert services[0] == services[1]


def test_a_part_that_cannot_be_identified_is_refused_but_for_a_harness() -> None:
    agent: Any = Agent()
    gate = Gate()
    with Path(__file__).open() as log:  # A harness has a version instead.
        agent.log = gate.__dict__["log"] = log
        assert set(identities(config_of(), Plugins(harness=agent))) == {"harness"}
        with pytest.raises(PluginError, match=r"gate\.kind: .*Gate: its attribute 'log' is"):
            identities(config_of(), Plugins(gate=gate))  # type: ignore[arg-type]
