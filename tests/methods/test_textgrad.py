"""TextGrad asks and decides as its package does, unmodified, in the same conversation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from skillopt import Plugins, train
from skillopt.config.inputs import read_config
from skillopt.run.journal import read_records
from skillopt.run.records import RolloutRan, RolloutsAsked, StepDone
from skillopt.run.state import State
from tests.helpers.cells import ALL_CELLS
from tests.helpers.conversation import Says, order_of
from tests.helpers.tiny import Tiny, tiny
from tests.methods.textgrad_conversation import BATCH, EPOCHS, Conversation, in_order

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
FIXTURE = json.loads((HERE / "fixtures" / "textgrad.json").read_text())
DECISIONS = {"accept": "kept", "reject": "undone", "skip": "nothing changes"}


class Talk:
    """The conversation as our optimizer has it: a step ends with its rewrite."""

    def __init__(self) -> None:
        self.conversation = Conversation()
        self.steps: list[dict[str, Any]] = []
        self.says = Says(self.answer)

    def answer(self, prompt: str) -> str:
        if not self.steps or self.steps[-1]["update"]:
            self.steps.append(self.conversation.begin())
        return self.conversation.answer(prompt)


def run(tiny: Tiny, **method: Any) -> Talk:
    """Train with the conversation of the fixture."""
    talk = Talk()
    tiny.write(method={"kind": "textgrad", "batch_size": BATCH, "epochs": EPOCHS, **method})
    tiny.write(optimizer={"upstream": "says", "name": "m"}, upstreams__says={"kind": "sim"})
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": talk.says}))
    assert result.done
    return talk


def steps_of(tiny: Tiny, talk: Talk) -> list[dict[str, Any]]:
    """What a run asked and decided, as the recorder has it of the package."""
    records, state = read_records(tiny.run), State()
    task_of = {record.key: record.task for record in records if isinstance(record, RolloutRan)}
    asked: dict[str, list[str]] = {"train": [], "val": []}
    found: list[dict[str, Any]] = []
    for record in records:
        state.apply(record)
        match record:
            case RolloutsAsked() if record.stage in ("baseline", "rollout", "gate"):
                for key in record.keys:
                    asked[task_of[key].partition("-")[0]].append(task_of[key])
                if record.stage == "baseline":
                    found.append({"validated": sorted(asked["val"])})
                    asked["val"] = []
            case StepDone():
                step = talk.steps[record.step - 1]
                step |= {"ran": sorted(asked["train"]), "decision": DECISIONS[record.action]}
                if record.gate:
                    step |= {
                        "validated": sorted(asked["val"]),
                        "score": record.gate.score_after,
                        "body": state.skills[state.current].body.strip(),
                    }
                asked = {"train": [], "val": []}
                found.append(in_order(step))
    found[0]["score"] = state.initial_score if state.chosen else None
    return found


def test_the_calls_and_decisions_are_those_of_the_package(tiny: Tiny) -> None:
    """But for what docs/methods.md names: a rewrite without tags ends their program, and is a step
    that changes nothing here; the order of tasks within a step; the wording."""
    talk = run(tiny)
    ours, theirs = steps_of(tiny, talk), FIXTURE["steps"]
    assert [step["ran"] for step in ours[1:]] == [sorted(b) for b in by_cache(FIXTURE["batches"])]
    assert theirs[-1].pop("decision") == "the program ends"
    assert ours[-1].pop("decision") == "nothing changes"
    assert ours == theirs
    # The last rewrite that was kept, though the one before scored the same.
    assert "- rule 1" in (tiny.run / "best_skill.md").read_text()
    errors = tiny.events("noted")
    assert [e["step"] for e in errors if "no <IMPROVED_VARIABLE> tags" in e["text"]] == [4]
    assert order_of(tiny.run)[-1] == ["end", 14]


def by_cache(batches: list[list[str]]) -> list[list[str]]:
    """The batches without what was run before with the same skill: the third has the task of the
    second, which was undone."""
    return [*batches[:2], [n for n in batches[2] if n not in batches[1]], *batches[3:]]


@pytest.mark.skipif(not ALL_CELLS, reason="installs 750 MB: in make test-all")
@pytest.mark.timeout(1500)
def test_the_fixture_is_what_the_package_does_now() -> None:
    program = environment() / "bin" / "python"
    done = subprocess.run(
        [program, "-B", HERE / "published_textgrad.py"],
        input=json.dumps({key: FIXTURE[key] for key in ("batches", "val")}),
        cwd=program.parent,  # It writes its own log there.
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == FIXTURE["steps"]


def environment() -> Path:
    """An environment that has the package, made once for all runs of the tests."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skillopt-tests"
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / FIXTURE["package"].replace("==", "-")
    with FileLock(f"{made}.lock"):
        if not (made / "whole").exists():
            venv.create(made, clear=True, with_pip=True)
            pip = [made / "bin" / "python", "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, FIXTURE["package"]], check=True, timeout=1200, stdout=sys.stderr)
            (made / "whole").touch()
    return made


def test_without_validation_nothing_is_selected(tiny: Tiny) -> None:
    run(tiny, validation=False)
    assert [entry[1] for entry in order_of(tiny.run) if len(entry) == 2] == ["skip"] * 4 + [5]
    assert not [entry for entry in order_of(tiny.run) if "gate" in entry]
    assert "- rule 1" in (tiny.run / "best_skill.md").read_text()


def test_the_budget_ends_it_before_a_step(tiny: Tiny) -> None:
    run(tiny, rollouts=7)
    assert tiny.summary["stopped"] == (
        "method.rollouts: 8 of 7 rollouts asked for, 1 more than allowed"
    )
    assert tiny.summary["rollouts_asked"] == 8 and tiny.summary["steps"] == 1
