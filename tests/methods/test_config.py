"""Settings of the methods: published defaults, and mistakes named with their key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.config.kinds import METHODS
from skillopt.config.loading import ConfigError, load_config
from skillopt.config.methods import SECTIONS, MethodConfig
from skillopt.config.schema import Config
from skillopt.training.method import make_method

GOOD = """\
name: one
tasks: {source: quickstart}
skill: {init: quickstart}
target: {upstream: sim, name: sim-1}
optimizer: {upstream: sim, name: sim-1}
upstreams: {sim: {kind: sim}}
"""


def config(folder: Path, method: str) -> Config:
    file = folder / "c.yaml"
    file.write_text(f"{GOOD}method: {method}\n")
    return load_config(file, Config)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{kind: textgrat}", "'textgrat' is not one of skillopt, none, human"),
        ("{kind: textgrat}", "did you mean 'textgrad'?"),
        ("{kind: gepa}", "method.rollouts: is missing; add it"),
        ("{kind: gepa, rollouts: 0}", "method.rollouts"),
        ("{kind: gepa, rollouts: 10, parent: best}", "method.parent: 'best' is not one of"),
        ("{kind: human}", "method.skill: is missing; add it"),
        ("{kind: textgrad, batchsize: 2}", "unknown key; did you mean 'batch_size'?"),
        ("{kind: textgrad, batch_size: 0}", "method.batch_size"),
        ("{kind: evoskill, solved: 2}", "method.solved"),
        ("{kind: trace2skill, merge_batch: 1}", "method.merge_batch"),
        ("{kind: one_shot, options: {a: 1}}", "method.options: unknown key; it is one of another"),
        ("{kind: skillopt, rollouts: -1}", "method.rollouts"),
        ("{kind: skillopt, epochs: 3}", "method.epochs: unknown key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, method: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(tmp_path, method)
    assert said in str(raised.value) and "c.yaml:7" in str(raised.value)


@pytest.mark.parametrize(
    ("method", "defaults"),
    [
        ("{kind: textgrad}", {"batch_size": 3, "epochs": 3, "steps": 4}),
        (
            "{kind: gepa, rollouts: 9}",
            {"minibatch": 3, "parent": "pareto", "skip_perfect": True, "merge": False},
        ),
        ("{kind: evoskill}", {"iterations": 20, "frontier": 3, "families": 3, "solved": 0.8}),
        ("{kind: trace2skill}", {"merge_batch": 5, "skills": 3}),
    ],
)
def test_defaults_are_the_published_ones(
    tmp_path: Path, method: str, defaults: dict[str, object]
) -> None:
    found = config(tmp_path, method).method.model_dump()
    assert {key: found[key] for key in defaults} == defaults


def test_a_method_takes_the_place_of_another_in_a_config_that_was_written(tmp_path: Path) -> None:
    """``config.yaml`` of a run has all keys with their defaults."""
    whole = config(tmp_path, "{kind: skillopt}").method.model_dump(mode="json")
    assert whole["options"] == {}
    assert config(tmp_path, json.dumps(whole | {"kind": "textgrad"})).method.kind == "textgrad"


def test_defaults_of_gepa_are_those_of_its_package() -> None:
    gepa = pytest.importorskip("gepa")
    import inspect

    theirs = inspect.signature(gepa.optimize).parameters
    ours = SECTIONS["gepa"].model_fields
    for key, name in {
        "parent": "candidate_selection_strategy",
        "accept": "acceptance_criterion",
        "skip_perfect": "skip_perfect_score",
        "merge": "use_merge",
        "max_merges": "max_merge_invocations",
    }.items():
        assert ours[key].default == theirs[name].default


def test_every_method_of_the_table_is_there(tmp_path: Path) -> None:
    assert set(METHODS) == {"skillopt", *SECTIONS}
    for kind in METHODS:
        if kind == "gepa":
            pytest.importorskip("gepa")
        needs = {"gepa": ", rollouts: 9", "human": f", skill: {tmp_path / 'one.md'}"}
        (tmp_path / "one.md").write_text("---\nname: one\ndescription: d\n---\n\nOne.\n")
        section = config(tmp_path, f"{{kind: {kind}{needs.get(kind, '')}}}").method
        assert type(section) is SECTIONS.get(kind, MethodConfig)
        method = make_method(section)
        assert callable(method.run) and type(method).__module__.startswith("skillopt.")
