"""Work of a real agent in a container is judged again after its tests were corrected."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from skillopt import evaluate
from skillopt.core.types import Rollout
from skillopt.rollouts.catalogue import Filter, open_store, stored
from skillopt.rollouts.prepare import prepare
from skillopt.rollouts.rejudge import Rejudged, rejudge
from tests.helpers.small import small_config, small_set

pytestmark = pytest.mark.engine


def with_image_of_its_own(task: Path) -> None:
    """The first workspace then comes out of an image that has to be built."""
    file = task / "environment" / "Dockerfile"
    more = "RUN mkdir -p deep/er && echo made > deep/er/file && chmod 600 deep/er/file\n"
    file.write_text(file.read_text() + more)


def test_the_same_work_gets_the_same_verdict_and_corrected_tests_another(tmp_path: Path) -> None:
    for split in small_set(tmp_path).iterdir():
        with_image_of_its_own(next(iter(sorted(split.iterdir()))))
    config = small_config(tmp_path, "codex")
    (row,) = evaluate(config, {"none": None}, split="val")
    before = {r.task.name: r for r in row.rollouts}
    for task in (tmp_path / "small" / "val").iterdir():
        test = task / "tests" / "test.sh"
        test.write_text(f"{test.read_text()}\n# corrected\n")
    first = judged(tmp_path)
    assert [one.after.reward for one in first if one.after] == [
        before[one.before.task.name].reward for one in first
    ]
    assert all(one.after and one.after.key != one.before.key for one in first), first
    for task in (tmp_path / "small" / "val").iterdir():
        (task / "tests" / "test.sh").write_text('echo 1 > "$VERIFIER_LOGS/reward.txt"\n')
    second = [one for one in judged(tmp_path) if one.before.key in {o.before.key for o in first}]
    assert [one.after.reward.hard for one in second if one.after] == [1.0, 1.0]
    after = [one.after for one in second if one.after]
    originals = [before[one.before.task.name] for one in second]
    assert sorted(map(wire_of, after)) == sorted(map(wire_of, originals))
    told = json.loads((after[0].folder / "result.json").read_text())
    assert len(told["earlier"]) in (1, 2) and os.listdir(tmp_path / "runs" / "store" / "tmp") == []


def wire_of(rollout: Rollout) -> bytes:
    with rollout.open("wire.jsonl") as file:
        return file.read()


def judged(folder: Path) -> list[Rejudged]:
    prepared = prepare(small_config(folder, "codex"))
    tasks = {task.name: task for task in prepared.splits["val"]}
    rollouts = stored(open_store(folder / "runs"), Filter())
    with prepared.runner(lambda event: None) as runner:
        return list(rejudge(runner, rollouts, tasks))
