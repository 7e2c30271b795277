"""What a rollout is known by: options that came later change nothing for those without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harnesses.agents.direct import VERSION
from harnesses.base import ModelSpec
from skillopt import evaluate, train
from skillopt.config.executors import RayConfig
from skillopt.config.inputs import initial_skill
from skillopt.config.schema import Config
from skillopt.core.skill import SkillError, read_skill
from skillopt.core.types import Task
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.sources import load_splits
from skillopt.training.fingerprint import FingerprintError, fingerprint
from tests.helpers.small import small_config, small_set

PETS = "---\nname: pets\ndescription: Food for pets.\n---\n\n- Feed the cat.\n- Water it.\n"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_set(tmp_path_factory.mktemp("tasks"))


def config_of(tasks: Path, folder: Path, **overrides: Any) -> Config:
    return small_config(folder, **{"tasks.source": str(tasks), **overrides})


def first_task(config: Config) -> Task:
    return load_splits(config.tasks, config.seed, config.runs / "tasks")["train"][0]


def key(config: Config) -> str:
    skill = initial_skill(config)
    assert skill is not None
    return prepare(config).runner(print).key(first_task(config), skill)


def print_of(config: Config) -> dict[str, Any]:
    prepared = prepare(config)
    agent = prepared.runner(print).harness(config.harness.name)
    return fingerprint(prepared, initial_skill(config), agent, Prompts())


def pets(folder: Path, text: str = PETS) -> Path:
    (folder / "pets").mkdir(exist_ok=True)
    (folder / "pets" / "SKILL.md").write_text(text)
    return folder / "pets"


@pytest.fixture(autouse=True)
def small(tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "small").symlink_to(tasks)


def test_without_them_key_and_fingerprint_are_what_they_were(tasks: Path, tmp_path: Path) -> None:
    config = config_of(tasks, tmp_path)
    skill, task = initial_skill(config), first_task(config)
    assert skill is not None
    harness = {
        "name": "direct",
        "version": VERSION,
        "sandbox": config.sandbox.model_dump(
            mode="json", exclude={"network", "verifier_network", "options", "root", "handover"}
        ),
        "budget": [200, 20_000_000],
    }
    service = {"kind": "sim", "seed": 0, "noise": 0.0, "malformed": 0.0, "harm": 0.0}
    model = ModelSpec("sim", "sim-1")
    identity = RolloutIdentity(skill.digest, task.digest, harness, model, service, 0)
    assert key(config) == identity.key
    known = print_of(config)
    assert not [name for name in known if "mount" in name or "beside" in name]


def test_each_of_them_makes_another_rollout_and_another_run(tasks: Path, tmp_path: Path) -> None:
    beside = str(pets(tmp_path))
    variants = [
        {},
        {"harness.mount": "instructions"},
        {"harness.mount": "both"},
        {"skill.beside": [beside]},
        {"sandbox.root": False},
        {"sandbox.handover": "workdir"},
    ]
    configs = [config_of(tasks, tmp_path, **variant) for variant in variants]
    assert len({key(config) for config in configs}) == len(variants)
    assert len({str(print_of(config)) for config in configs}) == len(variants)
    before = key(configs[3]), print_of(configs[3])
    pets(tmp_path, PETS + "- Brush it.\n")
    assert key(configs[3]) != before[0] and print_of(configs[3]) != before[1]


def test_where_it_runs_is_no_part_of_it(tasks: Path, tmp_path: Path) -> None:
    ray = {
        "kind": "ray", "address": "10.0.0.1:6379", "slots": 2, "resource": "agents", "nodes": 3,
        "wait_s": 1.0, "silence_s": 4.0, "keys_file": "/keys",
    }  # fmt: skip
    assert ray.keys() == RayConfig.model_fields.keys()
    here = config_of(tasks, tmp_path)
    there = config_of(tasks, tmp_path, executor=ray)
    assert key(there) == key(here) and print_of(there) == print_of(here)


def test_options_are_part_of_it_for_their_own_harness_only(tasks: Path, tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"harness.options": {"effort": "low"}},
        {"harness.options": {"settings": {"features": {"goals": False}}}},
        {"harness.mode": "interactive"},
    ]
    configs = [small_config(tmp_path, "codex", **each) for each in options]
    assert len({key(config) for config in configs}) == len(options)
    assert len({str(print_of(config)) for config in configs}) == len(options)
    empty = small_config(tmp_path, "codex", **{"harness.options": {"flags": []}})
    assert key(empty) == key(configs[0]) and print_of(empty) == print_of(configs[0])
    assert not [name for name in print_of(empty) if "options" in name or "mode" in name.split(".")]
    skill, task = initial_skill(empty), first_task(empty)
    assert skill is not None
    shared = {
        prepare(config).runner(print).key(task, skill, harness="claude-code") for config in configs
    }
    assert len(shared) == 1


def test_runs_without_a_skill_are_shared_by_all_ways_of_mounting_one(
    tasks: Path, tmp_path: Path
) -> None:
    keys = []
    for mount in ("native", "instructions"):
        config = config_of(tasks, tmp_path, **{"harness.mount": mount})
        rows = evaluate(config, {"none": None}, split="train")
        keys.append([rollout.key for rollout in rows[0].rollouts])
    assert keys[0] == keys[1]


def test_skills_beside_it_are_offered_and_those_opened_are_recorded(
    tasks: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "house.md"
    beside.write_text("---\nname: house\ndescription: House rules for logs.\n---\n\n- Use UTC.\n")
    config = config_of(tasks, tmp_path, **{"skill.beside": [str(beside)]})
    (row,) = evaluate(config, {"pets": read_skill(pets(tmp_path))}, split="train")
    opened = {r.task.family: (r.skill_activated, r.others_opened) for r in row.rollouts}
    assert opened["logs"] == (False, ("house",))
    assert any(task.get("others_opened") == ("house",) for task in row.to_json()["tasks"])


@pytest.mark.slow
def test_a_skill_is_trained_beside_others_whose_descriptions_the_optimizer_sees(
    tasks: Path, tmp_path: Path
) -> None:
    config = config_of(tasks, tmp_path, **{"skill.beside": [str(pets(tmp_path))]})
    run = train(config)
    assert run.done and run.summary["best_score"] == 1.0
    step = min(run.folder.glob("steps/*/wire.jsonl"))
    prompts = step.read_text()
    assert "Other skills that the agent has" in prompts and "pets: Food for pets." in prompts
    # It goes on from its log, and not with another skill beside it.
    assert train(config).summary["best_score"] == 1.0
    pets(tmp_path, PETS + "- Brush it.\n")
    with pytest.raises(FingerprintError, match=r"beside\.pets: "):
        train(config)


def test_two_skills_of_a_name_are_refused(tasks: Path, tmp_path: Path) -> None:
    beside = str(pets(tmp_path))
    twice = config_of(tasks, tmp_path, **{"skill.beside": [beside, beside]})
    with pytest.raises(SkillError, match="two skills are named 'pets'; rename one"):
        evaluate(twice, {"none": None}, split="train")
    once = config_of(tasks, tmp_path, **{"skill.beside": [beside]})
    with pytest.raises(SkillError, match="named 'pets' like the skill itself"):
        evaluate(once, {"pets": read_skill(Path(beside))}, split="train")
