"""Configs that cannot be used say which file, line and key, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.config.loading import ConfigError, load_config
from skillopt.config.schema import Config
from skillopt.core.resources import resource

GOOD = """\
name: x
tasks: {source: quickstart}
skill: {init: quickstart}
upstreams:
  sim: {kind: sim}
target: {upstream: sim, name: sim-1}
optimizer: {upstream: sim, name: sim-1}
"""


def problem(tmp_path: Path, text: str) -> str:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, Config)
    return str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("file", sorted(resource("configs").glob("quickstart/*.yaml")), ids=str)
def test_shipped_configs_are_valid(file: Path) -> None:
    assert load_config(file, Config).name.startswith(("quickstart", "smollm2"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sed: 3\n", "/c.yaml:8: sed: unknown key; did you mean 'seed'?"),
        ("seed: many\n", "/c.yaml:8: seed: Input should be a valid integer"),
        (
            "harness: {name: codx}\n",
            "/c.yaml:8: harness.name: 'codx' is not one of direct, codex, claude-code, opencode, "
            "nor an import path like 'my_package.module:name' (did you mean 'codex'?)",
        ),
        ("train:\n  epochs: 0\n", "/c.yaml:9: train.epochs: Input should be greater than or"),
        (
            "train:\n  learning_rate:\n    shedule: linear\n",
            "/c.yaml:10: train.learning_rate.shedule: unknown key; did you mean 'schedule'?",
        ),
        (
            "harness: {name: codex}\nsandbox: {kind: local}\n",
            "/c.yaml: harness.name: 'codex' needs sandboxes that are isolated",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_line(
    more: str, message: str, tmp_path: Path
) -> None:
    assert message in problem(tmp_path, GOOD + more)


def test_a_dial_of_an_upstream_is_checked_by_its_kind(tmp_path: Path) -> None:
    text = GOOD.replace("{kind: sim}", "{kind: sim, nosie: 1}")
    assert "/c.yaml:5: upstreams.sim.nosie: unknown key; did you mean 'noise'?" in problem(
        tmp_path, text
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("method: {rollouts: 0}\n", "/c.yaml:8: method.rollouts: Input"),
        ("method: gepa\n", "/c.yaml:8: method: Input"),
        ("method: {kind: gepa}\n", "/c.yaml:8: method.rollouts: is missing"),
        ("method:\n  kind: gepa\n  rollouts: 0\n", "/c.yaml:10: method.rollouts: Input"),
        ("method: {kind: gapa}\n", "/c.yaml:8: method.kind: 'gapa' is not one of"),
        ("tasks: {source: x, split: [1, x, 2]}\n", "tasks.split.1: "),
    ],
)
def test_a_key_is_named_as_in_the_file(more: str, message: str, tmp_path: Path) -> None:
    text = GOOD.replace("tasks: {source: quickstart}\n", "") if "tasks" in more else GOOD
    assert message in problem(tmp_path, text + more)


def test_a_key_of_a_setting_beside_the_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(GOOD)
    with pytest.raises(ConfigError, match=r" method\.rollouts: Input"):
        load_config(file, Config, {"method": {"kind": "gepa", "rollouts": 0}})


def test_a_model_without_its_upstream_is_named_with_the_known_ones(tmp_path: Path) -> None:
    text = GOOD.replace("target: {upstream: sim,", "target: {upstream: gpt,")
    assert "target.upstream: 'gpt' is not in upstreams (sim)" in problem(tmp_path, text)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [1\n", "\x00"])
def test_what_is_not_a_mapping_in_yaml_is_an_error(text: str, tmp_path: Path) -> None:
    assert "/c.yaml" in problem(tmp_path, text)


def test_missing_files_are_named_also_through_base(tmp_path: Path) -> None:
    assert "no such file (named by base: in /c.yaml)" in problem(tmp_path, "base: none.yaml\n")


def test_a_circle_of_bases_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("base: c.yaml\n")
    assert "leads back to itself" in problem(tmp_path, "base: d.yaml\n")


def test_a_base_is_overridden_key_by_key_and_errors_name_the_right_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD + "train: {epochs: 2, batch_size: 3}\nworkers: 0\n")
    text = "base: base.yaml\ntrain: {epochs: 5}\n"
    assert "/base.yaml:9: workers" in problem(tmp_path, text)
    (tmp_path / "base.yaml").write_text(GOOD + "train: {epochs: 2, batch_size: 3}\n")
    config = load_config(tmp_path / "c.yaml", Config, {"train.minibatch": 2})
    train = config.train
    assert (train.epochs, train.batch_size, train.minibatch) == (5, 3, 2)


def test_a_kind_that_is_set_on_the_command_line_is_no_part_of_a_key(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(GOOD)
    for key, value, expected in (
        ("slots", 0, "executor.slots: Input should be"),
        ("slot", 4, "executor.slot: unknown key; did you mean 'slots'?"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(file, Config, {"executor.kind": "ray", f"executor.{key}": value})
        assert expected in str(caught.value)
