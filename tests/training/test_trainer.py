"""The training loop on real rollouts: what it decides, what it writes, and what it does again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.base import Usage
from skillopt import RunResult, train
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.run.events import Event, RolloutFinished, RolloutStarted
from skillopt.run.folder import read_state
from skillopt.run.journal import read_records
from skillopt.run.records import Replied, RolloutRan, StageStarted, StepDone
from skillopt.run.state import fold
from skillopt.tasks.harbor import TaskError
from skillopt.training.context import _useless
from skillopt.training.fingerprint import FingerprintError
from skillopt.training.steps import batches
from tests.helpers.small import small_config, small_set, trained, untimed, with_rollouts
from tests.helpers.values import a_task

KEYS = {
    "step", "epoch", "action", "edit_budget", "selection_hard", "selection_soft", "current_score",
    "best_score", "rollout_hard", "rollout_soft", "tokens", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="module")
def folder(result: RunResult) -> Path:
    """Where that run is, and others find its rollouts."""
    return result.folder.parent.parent


def test_the_skill_gets_better_and_only_by_what_the_gate_let_in(result: RunResult) -> None:
    assert result.summary["best_score"] > result.summary["initial_score"]
    best = result.summary["initial_score"]
    for row in result.history:
        if row["action"] == "accept":
            assert row["selection_hard"] > best
        assert row["best_score"] >= best
        best = row["best_score"]
    assert result.best.digest == result.summary["best_skill"]
    assert any(row["action"] == "accept" for row in result.history)


def test_the_run_folder_has_the_files_and_keys_that_users_know(result: RunResult) -> None:
    run = result.folder
    history = json.loads((run / "history.json").read_text())
    assert history == result.history and set(history[0]) >= KEYS
    assert [row["step"] for row in history] == list(range(1, len(history) + 1))
    assert json.loads((run / "summary.json").read_text())["done"] is True
    assert (run / "best_skill.md").read_text() == result.best.text
    assert (run / "best_skill" / result.best.name / "SKILL.md").read_text() == result.best.text
    assert (run / "skills" / "skill_v0000.md").read_text() == result.initial.text
    for row in history:
        step = run / "steps" / f"step_{row['step']:04d}"
        assert (run / "skills" / f"skill_v{row['step']:04d}.md").is_file()
        rollouts = json.loads((step / "rollouts.json").read_text())
        store = run.parent / "store"
        assert len(rollouts) == 2
        assert all((store / r["key"][:2] / r["key"]).is_dir() for r in rollouts)
        assert {"patches.json", "edits.json"} <= {file.name for file in step.iterdir()}
    for split in ("train", "val", "test"):
        assert len(json.loads((run / split / "items.json").read_text())) == 2
    assert "config.yaml" in {file.name for file in run.iterdir()}


def test_the_same_command_again_runs_no_rollout_and_ends_the_same(
    result: RunResult, folder: Path
) -> None:
    seen: list[Event] = []
    again = train(small_config(folder), listeners=[seen.append])
    assert not [event for event in seen if isinstance(event, RolloutStarted | RolloutFinished)]
    assert again.best == result.best and again.history == result.history
    assert again.done


def test_a_new_run_takes_its_rollouts_from_the_store(result: RunResult, folder: Path) -> None:
    seen: list[Event] = []
    forked = train(small_config(folder), listeners=[seen.append], fork="forked")
    assert not [event for event in seen if isinstance(event, RolloutStarted)]
    assert all(event.stored for event in seen if isinstance(event, RolloutFinished))
    assert untimed(forked.history) == untimed(result.history)
    assert forked.summary["forked_from"] == result.summary["name"]
    assert forked.folder.name == "forked" and forked.summary["spent"]["rollouts"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 8])
def test_the_number_of_workers_does_not_change_the_result(
    workers: int, result: RunResult, tmp_path: Path
) -> None:
    """Same seed and same replies: the same bytes, times aside."""
    other = train(small_config(tmp_path, workers=workers))
    assert (other.folder / "best_skill.md").read_bytes() == result.best.text.encode()
    assert untimed(other.history) == untimed(result.history)
    assert other.summary["test"] == result.summary["test"]


@pytest.mark.slow
def test_the_stages_come_in_the_papers_order(tmp_path: Path) -> None:
    seen: list[Event] = []
    own = {"upstreams.sim.harm": 1.0, "upstreams.sim.noise": 1.0, "train.minibatch": 1}
    config = small_config(tmp_path, **own, **{"gate.kind": "strict"})
    train(config, listeners=[seen.append])
    stages = [event.stage for event in seen if isinstance(event, StageStarted)]
    step = ["rollout", "reflect", "merge", "rank", "apply"]
    assert stages[:7] == ["baseline", *step, "gate"] or stages[:8] == [
        "baseline", *step, "apply", "gate",
    ]  # fmt: skip
    assert [s for s in stages if s in ("meta", "pairs", "slow")] == ["meta", "pairs", "slow"]
    ends = [stages.index("meta"), stages.index("pairs")]
    assert [stages[:end].count("rollout") for end in ends] == [1, 2], "the ends of two epochs"


@pytest.mark.slow
@pytest.mark.parametrize("gate", [{"kind": "strict"}, {"kind": "auto", "options": {"large": 1}}])
def test_a_run_ends_when_no_candidate_could_be_better(folder: Path, gate: Any) -> None:
    seen: list[Event] = []
    config = small_config(folder, name=f"settled-{gate['kind']}", gate=gate)
    result = train(config, listeners=[seen.append])
    assert [row["current_score"] for row in result.history] == [1.0]
    assert result.done and "solves every selection task" in result.summary["stopped"]
    stages = [event.stage for event in seen if isinstance(event, StageStarted)]
    assert stages.count("rollout") == 1 and not {"meta", "pairs", "slow"} & {*stages}
    best = {"skill.init": str(result.folder / "best_skill" / result.best.name)}
    again = small_config(folder, name=f"perfect-{gate['kind']}", gate=gate, **best)
    assert train(again).history == [], "there is nothing to train"


@pytest.mark.slow
def test_what_earlier_steps_did_is_shown_to_later_ones(folder: Path) -> None:
    settings = {"upstreams.sim.noise": 1.0, "train.epochs": 3, "train.minibatch": 1}
    plain = {"final.test": False, "gate.kind": "strict"}
    result = train(small_config(folder, name="told", **settings, **plain))
    wires = [
        (result.folder / "steps" / f"step_000{n}" / "wire.jsonl").read_text() for n in (1, 2, 3)
    ]
    assert all("# The agent" in wire and "Direct chat with the model" in wire for wire in wires)
    assert "# Failures of earlier steps" in wires[1]
    assert "Step 1: rejected" in wires[1] and "; alone:" in wires[1]
    assert "# Decisions so far" in wires[0] and "step 1: 0.500" in wires[0]
    assert "# Decisions so far" not in wires[2], "nobody would read these notes"
    state, _ = read_state(result.folder)
    assert [entry.what for entry in state.tried][:2] == ["step 1", "step 2"]
    assert state.findings[1] and state.failures_of[1] == 1


@pytest.mark.slow
def test_batches_can_be_accumulated_into_one_step(tmp_path: Path) -> None:
    small = with_rollouts(tmp_path)
    settings = {"train.batch_size": 1, "train.accumulation": 2, "train.minibatch": 1}
    result = train(small_config(small, **settings, **{"final.test": False}))
    assert [row["step"] for row in result.history] == [1, 2]
    rollouts = json.loads((result.folder / "steps" / "step_0001" / "rollouts.json").read_text())
    assert len(rollouts) == 2
    wire = (result.folder / "steps" / "step_0001" / "wire.jsonl").read_text()
    assert wire.count("# Trajectories that ") == 2 and "## Trajectory 2" not in wire


@pytest.mark.parametrize(
    "settings",
    [
        {"train.update": "rewrite_from_suggestions"},
        pytest.param({"train.update": "full_rewrite"}, marks=pytest.mark.slow),
        {"train.learning_rate.schedule": "autonomous"},
        {"train.learning_rate.schedule": "none", "train.memory": False},
        {"train.slow_update": False, "train.meta_skill": False},
        {"train.skill_aware": True, "gate.metric": "mixed"},
        {"gate.metric": "soft", "final.test": False},
    ],
    ids=lambda settings: ",".join(settings),
)
@pytest.mark.slow
def test_every_variant_trains(settings: dict[str, Any], folder: Path) -> None:
    name = "-".join(str(value) for value in settings.values()).lower()
    result = train(small_config(folder, name=name, **settings))
    assert result.done and result.summary["best_score"] > result.summary["initial_score"]
    assert bool(result.summary["test"]) is settings.get("final.test", True)
    if settings.get("train.slow_update") is False:
        assert "epoch_end" not in result.history[-1]


@pytest.mark.slow
def test_a_run_without_one_usable_reply_fails_and_can_be_resumed(folder: Path) -> None:
    def config(malformed: float) -> Config:
        own = {"kind": "sim", "malformed": malformed}
        settings = {"optimizer.upstream": "own", "train.epochs": 1, "final.test": False}
        return small_config(folder, name="malformed", **{"upstreams.own": own}, **settings)

    seen: list[Event] = []
    with pytest.raises(PausedError, match=r"step 1: optimizer: not one of \d+ replies") as caught:
        train(config(1.0), listeners=[seen.append])
    assert caught.value.exit_code == 3 and "malformed reply" in str(caught.value)
    assert not any(isinstance(event, StepDone) for event in seen)
    seen.clear()
    with pytest.raises(PausedError, match=r"step 1: optimizer: not one of \d+ replies"):
        train(config(1.0), listeners=[seen.append])
    # It was asked again, and only it: the rollouts are kept.
    assert any(isinstance(event, Replied) for event in seen)
    assert not any(isinstance(event, RolloutRan) for event in seen)
    result = train(config(0.0))
    assert result.done and result.history[0]["action"] != "skip"


def test_steps_in_a_row_without_a_usable_reply_end_the_training() -> None:
    def reply(step: int, usable: bool, refused: bool = False) -> Replied:
        return Replied(
            id=f"{step}-{usable}", stage="reflect", step=step, about="a", usage=Usage(),
            reply="{}" if usable else None, error="" if usable else "cut", refused=refused,
        )  # fmt: skip

    good, bad = (1, True), (2, False)
    for made, last, problem in (
        ([], True, ""),
        ([good], True, ""),
        ([bad], False, ""),
        ([bad], True, "not one of 1 replies"),
        ([(1, False), (1, False), (1, False)], False, "not one of 3 replies"),
        ([good, bad, (3, False)], True, ""),
        ([good, bad, (3, False), (4, False)], False, "no reply could be used in 3 steps"),
        ([good, bad, (3, False), (3, True), (4, False)], False, ""),
        ([(0, True), (0, False), (1, False)], True, "not one of 1 replies"),
    ):
        found = _useless([reply(*one) for one in made], last)
        assert problem in found and bool(problem) == bool(found), (made, last)
    assert "refused" in _useless([reply(1, False, refused=True)], last=False)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.slow
def test_an_optimizer_that_is_down_pauses_the_run_and_keeps_the_rollouts(tmp_path: Path) -> None:
    down = {"upstreams.down": {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"}}
    short = {"train.epochs": 1, "final.test": False}
    config = small_config(tmp_path, name="down", **down, **short, **{"optimizer.upstream": "down"})
    first: list[Event] = []
    with pytest.raises(PausedError, match=r"step 1: optimizer: .*ConnectError"):
        train(config, listeners=[first.append])
    seen: list[Event] = []
    train(small_config(tmp_path, name="mended", **short), listeners=[seen.append])
    ran = {event.rollout.key for event in first if isinstance(event, RolloutFinished)}
    finished = [event for event in seen if isinstance(event, RolloutFinished)]
    assert len(ran) == 4 and ran <= {event.rollout.key for event in finished if event.stored}


@pytest.mark.slow
def test_a_verifier_that_crashes_pauses_the_run_and_is_never_a_score(tmp_path: Path) -> None:
    tasks = small_set(tmp_path, ("logs",))
    (test,) = (tasks / "val").glob("*/tests/test.sh")
    good = test.read_text()
    test.write_text("exit 3\n")
    config = small_config(tmp_path, rollout_tries=2, **{"train.epochs": 1, "final.test": False})
    seen: list[Event] = []
    with pytest.raises(PausedError, match=r"wrote neither reward\.json nor reward\.txt"):
        train(config, listeners=[seen.append])
    assert not list((tmp_path / "runs" / "store").glob("??/*/result.json"))
    assert list((tmp_path / "runs" / "store" / "failed").iterdir())
    test.write_text(good)
    assert train(config, fork="mended").done


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / "small" / name).mkdir(parents=True)
    with pytest.raises(TaskError, match="no task folders in it"):
        train(small_config(tmp_path))
    flat = small_set(tmp_path / "more") / "train"
    config = small_config(tmp_path, **{"tasks.source": str(flat), "tasks.split": [1, 1, 7]})
    with pytest.raises(TaskError, match="the train split has no tasks"):
        train(config)


def test_the_folder_of_another_config_is_not_written_over(result: RunResult, folder: Path) -> None:
    before = (result.folder / "history.json").read_bytes()
    with pytest.raises(FingerprintError) as caught:
        train(small_config(folder, seed=5, workers=2, **{"train.epochs": 1}))
    assert "seed: 42 -> 5\n  train.epochs: 2 -> 1\n" in str(caught.value)
    assert "--fork" in str(caught.value)
    assert (result.folder / "history.json").read_bytes() == before


@given(
    count=st.integers(1, 50),
    size=st.integers(1, 60),
    seed=st.integers(),
    epoch=st.integers(1, 9),
)
def test_an_epoch_has_every_task_once(count: int, size: int, seed: int, epoch: int) -> None:
    tasks = [a_task(f"task-{n}") for n in range(count)]
    made = batches(tasks, size, seed, epoch)
    assert Counter(t.name for batch in made for t in batch) == Counter(t.name for t in tasks)
    assert len(made) == -(-count // size)
    assert all(len(batch) == size for batch in made[:-1])
    assert batches(tasks, size, seed, epoch) == made


@pytest.mark.slow
def test_a_run_that_was_begun_with_the_strict_gate_by_default_keeps_it(folder: Path) -> None:
    whole = train(small_config(folder, name="whole", **{"gate.kind": "strict"}))
    limits = {"limits.stages.gate.rollouts": 1}
    train(small_config(folder, name="kept", **{"gate.kind": "strict", **limits}))
    # The same config without the key, as it was written before there was another gate.
    resumed = train(small_config(folder, name="kept"))
    assert resumed.done and untimed(resumed.history) == untimed(whole.history)
    state = fold(read_records(resumed.folder))
    assert state.created is not None and state.created.fingerprint["gate.kind"] == "strict"
    new = train(small_config(folder, name="kept"), fork="new")
    state = fold(read_records(new.folder))
    assert state.created is not None and state.created.fingerprint["gate.kind"] == "auto"
