"""``--dry-run`` is ``train`` up to its first rollout: what one refuses, the other refuses with the
same words, and nothing has been written (docs/faults, runs, kind 6)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable

import pytest

from tests.helpers.tiny import BROKEN, SKILL, Tiny, refused, tiny

__all__ = ["tiny"]


def no_selection_tasks(at: Tiny) -> None:
    for split in ("train", "val", "test"):
        shutil.copytree(f"tasks/{split}", "flat", dirs_exist_ok=True)
    at.write(tasks={"source": "flat", "split": [1, 0, 1]})


def excluded_selection_tasks(at: Tiny) -> None:
    at.write(tasks__exclude=["val-0", "val-1", "val-2"])


def excluded_training_tasks(at: Tiny) -> None:
    at.write(tasks__exclude=["train-0", "train-1", "train-2"])


def an_unknown_task(at: Tiny) -> None:
    at.write(tasks__exclude=["val-9"])


def front_matter_that_is_no_yaml(at: Tiny) -> None:
    at.put("my-skill/SKILL.md", "---\nname: my-skill\ndescription: Two: three\n---\n# Rules\n")


def a_skill_that_the_agent_does_not_load(at: Tiny) -> None:
    at.put("my-skill/SKILL.md", "# Rules\n")
    at.write(harness={"name": "codex"}, sandbox={"kind": "docker"})


def a_limit_below_the_skill(at: Tiny) -> None:
    at.put("my-skill/SKILL.md", SKILL + "- rule\n" * 300)
    at.write(skill__max_tokens=200)


def no_skill(at: Tiny) -> None:
    shutil.rmtree("my-skill")


def a_skill_of_that_name_beside(at: Tiny) -> None:
    shutil.copytree("my-skill", "others/my-skill")
    at.write(skill__beside=["others/my-skill"])


def a_limit_without_prices(at: Tiny) -> None:
    at.write(limits={"usd": 1}, target={"upstream": "sim", "name": "of-unknown-price"})


def a_stop_without_prices(at: Tiny) -> None:
    stop = {"kind": "all", "of": [{"kind": "spent", "usd": 1}]}
    at.write(stop=[stop], optimizer={"upstream": "sim", "name": "of-unknown-price"})


def a_stage_that_cannot_be_replaced(at: Tiny) -> None:
    at.write(train__stages={"gate": "json:dumps"})


def a_stage_of_other_arguments(at: Tiny) -> None:
    at.write(train__stages={"rank": "json:dumps"})


def a_stage_that_is_no_function(at: Tiny) -> None:
    at.write(train__stages={"rank": "own:SKILL"})
    at.own("SKILL = 3")


def a_verifier_of_other_arguments(at: Tiny) -> None:
    at.write(verifier="own:one")
    at.own("def one(workspace): return 1")


def a_verifier_that_is_not_there(at: Tiny) -> None:
    at.write(verifier="own:nobody")


def a_harness_without_run(at: Tiny) -> None:
    at.write(harness__name="own:Idle")
    at.own("class Idle:\n    name = 'idle'\n    def version(self): return '1'")


def a_harness_without_a_version(at: Tiny) -> None:
    at.write(harness__name="own:Idle")
    at.own("class Idle:\n    name = 'idle'\n    def run(self, request, site): ...")


def a_harness_that_takes_arguments(at: Tiny) -> None:
    at.write(harness__name="own:Idle")
    at.own("class Idle(Writer):\n    def __init__(self, model): self.model = model")


def a_harness_that_raises(at: Tiny) -> None:
    at.write(harness__name="own:Idle")
    at.own("class Idle(Writer):\n    def version(self): return undefined")


def a_module_that_raises(at: Tiny) -> None:
    at.own("raise RuntimeError('no model loaded')")


def a_module_that_ends_the_process(at: Tiny) -> None:
    at.own("raise SystemExit(0)")


def a_stop_condition_of_other_arguments(at: Tiny) -> None:
    at.write(stop=[{"kind": "custom", "path": "own:enough"}])
    at.own("def enough(state): return ''")


def a_stop_condition_within_others(at: Tiny) -> None:
    at.write(stop=[{"kind": "all", "of": [{"kind": "custom", "path": "own:nobody"}]}])


def a_tracker_that_is_not_installed(at: Tiny) -> None:
    at.write(trackers=["wandb"])


def prompts_with_an_unknown_name(at: Tiny) -> None:
    at.put("prompts/reflekt.md", "Reflect.\n")
    at.write(optimizer__prompts="prompts")


def a_task_without_tests(at: Tiny) -> None:
    (at.folder / "tasks/test/test-0/instruction.md").unlink()


def a_prompt_that_is_longer_than_an_argument(at: Tiny) -> None:
    at.put("tasks/test/test-0/instruction.md", "a" * 131_072)
    at.write(harness={"name": "codex"}, sandbox={"kind": "docker"})


def a_prompt_with_a_zero_byte(at: Tiny) -> None:
    at.put("tasks/test/test-0/instruction.md", "a\0b")


def runs_that_are_a_file(at: Tiny) -> None:
    at.put("runs", "")


def another_run_of_that_name(at: Tiny) -> None:
    assert at.train().returncode == 0
    at.write(target={"upstream": "sim", "name": "sim-2"})


def a_damaged_log(at: Tiny) -> None:
    at.put("runs/tiny/events.jsonl", '{"kind": "nonsense"}\n{}\n')


CASES: dict[Callable[[Tiny], None], str] = {
    no_selection_tasks: "the val split has no tasks",
    excluded_selection_tasks: "the val split has no tasks",
    excluded_training_tasks: "the train split has no tasks",
    an_unknown_task: "'val-9'",
    a_prompt_that_is_longer_than_an_argument: "instruction has 131,072 bytes, and codex can be",
    a_prompt_with_a_zero_byte: "has a zero byte",
    front_matter_that_is_no_yaml: "in quotes",
    a_skill_that_the_agent_does_not_load: "codex does not load this skill: it has no front matter",
    a_limit_below_the_skill: "skill.compress: true",
    no_skill: "my-skill",
    a_skill_of_that_name_beside: "skill.beside",
    a_limit_without_prices: "no price for 'of-unknown-price'",
    a_stop_without_prices: "no price for 'of-unknown-price'",
    a_stage_that_cannot_be_replaced: "train.stages.gate",
    a_stage_of_other_arguments: "train.stages.rank",
    a_stage_that_is_no_function: "train.stages.rank",
    a_verifier_of_other_arguments: "verifier",
    a_verifier_that_is_not_there: "verifier: own:nobody",
    a_harness_without_run: "harness.name",
    a_harness_without_a_version: "harness.name",
    a_harness_that_takes_arguments: "harness.name: own:Idle",
    a_harness_that_raises: "harness.name: version: your own code raised NameError",
    a_module_that_raises: "your own code raised RuntimeError: no model loaded",
    a_module_that_ends_the_process: "your own code raised SystemExit",
    a_stop_condition_of_other_arguments: "stop",
    a_stop_condition_within_others: "stop: own:nobody",
    a_tracker_that_is_not_installed: "pip install 'skillopt-harness[wandb]'",
    prompts_with_an_unknown_name: "reflekt.md",
    a_task_without_tests: "instruction.md",
    runs_that_are_a_file: "runs",
    another_run_of_that_name: "target.name: sim-1 -> sim-2",
    a_damaged_log: "events.jsonl:1",
}
OWN = (a_module_that_raises, a_module_that_ends_the_process, a_harness_that_raises)
"""What these raise has a traceback, which is the user's own."""


@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
def test_both_refuse(
    tiny: Tiny, change: Callable[[Tiny], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    change(tiny)
    before = sorted(tiny.folder.rglob("*"))
    dry = tiny.train("--dry-run")
    assert sorted(tiny.folder.rglob("*")) == before, "it has written something"
    wet = tiny.train()
    for done in (dry, wet):
        assert done.returncode == 2 and CASES[change] in done.stderr, done.stderr
        if change in OWN:
            assert done.stderr.startswith("Traceback") and "own.py" in done.stderr
            assert "/skillopt/" not in done.stderr, "the traceback is the user's alone"
        else:
            refused(done)
    assert dry.stderr == wet.stderr
    if change not in (another_run_of_that_name, a_damaged_log, runs_that_are_a_file):
        assert not (tiny.folder / "runs").exists(), "a refused start leaves nothing"


def test_what_can_be_trained_is_planned(tiny: Tiny) -> None:
    """Also a run that has begun, and one that is forked."""
    tiny.task("test", "test-0", BROKEN)
    tiny.write(verifier=None)
    for words in ([], ["--fork", "other"]):
        done = tiny.train("--dry-run", "--json", *words)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["steps"] == 2
    assert json.loads(done.stdout)["name"] == "other"
    assert not (tiny.folder / "runs").exists()
    assert tiny.train("--set", "limits.rollouts=4").returncode == 4
    assert tiny.train("--dry-run").returncode == 0
    tiny.write(target={"upstream": "sim", "name": "sim-2"})
    assert tiny.train("--dry-run", "--fork", "other").returncode == 0
