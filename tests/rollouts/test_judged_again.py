"""Which stored rollouts are judged again, under which address, and what becomes of the old verdict.

The agent's work is not looked at here: :mod:`tests.rollouts.test_rejudge` runs whole commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import Status
from sandboxes.base import SandboxError
from skillopt.config.schema import SandboxConfig
from skillopt.core.judgement import Judgement
from skillopt.core.types import Reward, Rollout, Task, Verdict
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.kept_work import keep_nothing, keep_work, snapshot
from skillopt.rollouts.rejudge import Rejudged, rejudge
from skillopt.rollouts.rollout import Job
from skillopt.rollouts.runner import RolloutRunner
from skillopt.rollouts.slots import sandbox_identity
from skillopt.rollouts.store import OUTCOME, RolloutStore
from skillopt.tasks.environment import given
from tests.helpers.values import a_result, a_task, an_identity

SANDBOX = SandboxConfig(kind="local")
AGENT: dict[str, Any] = {
    "name": "codex",
    "version": "1",
    "sandbox": sandbox_identity(cast(Any, SimpleNamespace(sandbox=SANDBOX)), {}),
    "verifier": "own:old",
}
TASK = a_task()


class FakeRunner:
    """What a judge of old work asks of a runner: it gives a fixed verdict."""

    def __init__(self, root: Path, sandbox: SandboxConfig = SANDBOX) -> None:
        self.store = RolloutStore(root)
        self.config = SimpleNamespace(sandbox=sandbox)
        self.parts: dict[str, str] = {"verifier": "own:new"}
        self.pool = ThreadPoolExecutor(1)
        self.judge: Mapping[str, Any] | None = None
        self.verdict: dict[str, Any] | Exception = {"reward": Reward(1.0, {"reward": 1.0}, "good")}
        self.executed: list[tuple[Job, set[str]]] = []
        self.counted: list[Rollout] = []
        self.admitted = 0

    def judge_of(self, task: Task) -> Any:
        return None if self.judge is None else SimpleNamespace(to_json=lambda: self.judge)

    def judging(self, task: Task, identity: RolloutIdentity) -> Any:
        return SimpleNamespace(task=task, key=identity.key)

    @contextmanager
    def judge_admitted(self, job: Job) -> Iterator[None]:
        self.admitted += 1
        yield

    def execute(self, job: Job, folder: Path) -> Rollout:
        self.executed.append((job, {str(p.relative_to(folder)) for p in folder.rglob("*")}))
        if isinstance(self.verdict, Exception):
            raise self.verdict
        message = {k: v.format(folder) for k, v in self.verdict.items() if k == "message"}
        return a_result(folder, key=job.key, **self.verdict | message)

    def count_judge(self, rollout: Rollout) -> None:
        self.counted.append(rollout)

    def rejudged(self, rollout: Rollout, *tasks: Task) -> Rejudged:
        (found,) = rejudge(
            cast(RolloutRunner, self), [rollout], {task.name: task for task in tasks}
        )
        return found


@pytest.fixture
def runner(tmp_path: Path) -> FakeRunner:
    return FakeRunner(tmp_path / "store")


def before(runner: FakeRunner, *, kept: str | None = "", **changes: Any) -> Rollout:
    """A stored rollout of the task; its work is kept, or a reason why it is not."""
    agent = changes.pop("agent", AGENT)
    identity = an_identity(task=TASK.digest, agent=agent)
    with runner.store.begin(identity.key) as folder:
        if kept:
            keep_nothing(folder, kept)
        elif kept is not None:
            (folder / "work").mkdir()
            keep_work(snapshot(folder / "work"), folder / "work", frozenset(), folder)
        values = {
            "key": identity.key,
            "identity": identity.to_json(),
            "given": given(TASK),
            "task": TASK,
            "reward": Reward(0.0, {"reward": 0.0}, "bad"),
            "message": f"see {folder}/x",
        }
        return runner.store.commit(a_result(folder, **values | changes))


def test_a_new_verdict_has_a_new_address_and_the_old_one_in_it(runner: FakeRunner) -> None:
    earlier = Verdict(key="e" * 64, soft=0.25)
    old = before(runner, earlier=(earlier,))
    runner.judge = {"model": "j"}
    runner.verdict = {"reward": Reward(1.0, {"checks": 2.0}, "good"), "judgement": JUDGED}
    new = replace(TASK, digest="tests are others")
    found = runner.rejudged(old, new)
    after = found.after
    assert after is not None and found.changed and not found.problem and found.before == old
    agent = AGENT | {"verifier": "own:new", "judge": {"model": "j"}}
    expected = an_identity(task=new.digest, agent=agent)
    assert (after.key, after.identity) == (expected.key, expected.to_json())
    assert after.key != old.key
    assert after.reward == Reward(1.0, {"checks": 2.0}, "good") and after.judgement == JUDGED
    assert after.task == new and after.given == given(new) and after.answer == old.answer
    assert after.folder == runner.store.folder(expected.key) and after.usage == old.usage
    assert after.message == f"see {after.folder}/x"
    last = Verdict(
        key=old.key, soft=0.0, metrics={"reward": 0.0}, feedback="bad", finished=old.finished
    )
    assert after.earlier == (earlier, last)
    assert runner.store.get(expected.key, new) == after, "as it is in the store"
    assert runner.store.get(old.key, TASK) == old
    (job, files), *_ = runner.executed
    assert job.key == expected.key and OUTCOME in files and "work.json" in files
    assert "scratch/workspace" not in files, "what was kept is unpacked there"
    assert runner.admitted == len(runner.counted) == 1
    assert not list((runner.store.root / "tmp").iterdir())


JUDGED = Judgement(model="j")


def test_the_same_tests_replace_the_verdict(runner: FakeRunner) -> None:
    runner.parts = {"verifier": "own:old"}
    old = before(runner)
    found = runner.rejudged(old, TASK)
    assert found.after is not None and found.changed
    assert found.after.key == old.key and found.after.earlier[-1].soft == 0.0
    assert runner.store.get(old.key, TASK) == found.after
    # Nor is it another one if it says the same again.
    again = runner.rejudged(found.after, TASK)
    assert again.after is not None and not again.changed and len(again.after.earlier) == 2


def test_what_is_under_the_new_address_already_is_not_judged_again(runner: FakeRunner) -> None:
    old = before(runner)
    first = runner.rejudged(old, TASK)
    runner.verdict = ValueError("nobody is asked")
    second = runner.rejudged(old, TASK)
    assert second.after == first.after and second.changed and len(runner.executed) == 1


def test_a_question_is_judged_by_its_answer_alone(runner: FakeRunner) -> None:
    asked = replace(TASK, question=True)
    old = before(runner, kept=None, given=given(asked))
    assert runner.rejudged(old, asked).after is not None
    (_, files), *_ = runner.executed
    assert "scratch/workspace" in files


@pytest.mark.parametrize("status", [Status.AGENT_ERROR, Status.AGENT_TIMEOUT])
@pytest.mark.parametrize("same", [False, True])
def test_what_the_agent_failed_at_is_taken_over_as_it_is(
    status: Status, same: bool, runner: FakeRunner
) -> None:
    if same:
        runner.parts = {"verifier": "own:old"}
    old = before(runner, kept=None, status=status)
    found = runner.rejudged(old, TASK)
    assert found.after is not None and not found.problem and not found.changed
    assert not runner.executed and (found.after.key == old.key) is same
    if same:
        assert found.after == old
    else:
        assert runner.store.get(found.after.key, TASK) == found.after
        assert found.after.message == f"see {found.after.folder}/x" and not found.after.earlier


OTHER = replace(TASK, digest="other", instruction="Do something else.")


@pytest.mark.parametrize(
    ("changes", "tasks", "problem"),
    [
        ({}, [], "the config has no task 'task-1'"),
        ({"identity": {}}, [TASK], "it does not say what it is a rollout of; run it again"),
        ({}, [OTHER], "its task's instruction, environment or limits have changed; run it again"),
        ({"given": ""}, [OTHER], "its task has changed, and it is not known whether only"),
        ({"kept": None}, [TASK], "an earlier version ran it, which did not keep"),
        ({"kept": "too large"}, [TASK], "was not kept as a whole: too large; forget it ('skillopt"),
        ({"agent": {**AGENT, "sandbox": {"kind": "docker"}}}, [TASK], "sandbox settings are not"),
        ({"agent": {"name": "codex"}}, [TASK], "sandbox settings are not"),
    ],
)
def test_what_is_not_judged_again_is_left_as_it_is_with_the_reason(
    changes: dict[str, Any], tasks: list[Task], problem: str, runner: FakeRunner
) -> None:
    old = before(runner, **changes)
    found = runner.rejudged(old, *tasks)
    assert found.after is None and problem in found.problem and not found.changed
    assert not runner.executed and found.before == old


def test_a_changed_task_of_which_nothing_is_known_is_the_same_if_its_digest_is(
    runner: FakeRunner,
) -> None:
    assert runner.rejudged(before(runner, given=""), TASK).after is not None


def test_only_the_verifiers_network_may_differ(tmp_path: Path) -> None:
    for number, (settings, judged) in enumerate(
        [({"verifier_network": "registries"}, True), ({"network": "registries"}, False)]
    ):
        runner = FakeRunner(tmp_path / str(number), SANDBOX.model_copy(update=settings))
        found = runner.rejudged(before(runner), TASK)
        assert (found.after is not None) is judged
        if found.after is not None:
            sandbox = found.after.identity["harness"]["sandbox"]
            assert sandbox["verifier_network"] == "registries"


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (SandboxError("the engine is gone"), "the engine is gone"),
        ({"status": Status.INFRA_ERROR, "message": "no verdict; see {}/v"}, "see the rollout/v"),
    ],
)
def test_without_a_verdict_the_old_one_stays(
    verdict: Any, problem: str, runner: FakeRunner
) -> None:
    old = before(runner)
    runner.verdict = verdict
    found = runner.rejudged(old, TASK)
    assert found.after is None and problem in found.problem
    assert runner.store.get(old.key, TASK) == old and len(list(runner.store.folders())) == 1
    assert not list((runner.store.root / "tmp").iterdir())
    assert len(runner.counted) == isinstance(verdict, dict), "what was asked has been paid for"


def test_all_are_judged_and_in_their_order(runner: FakeRunner, tmp_path: Path) -> None:
    found = list(
        rejudge(
            cast(RolloutRunner, runner),
            [before(runner), before(runner, agent=AGENT | {"version": "2"})],
            {TASK.name: TASK},
        )
    )
    assert [one.after is not None for one in found] == [True, True]
    assert [one.before.identity["harness"]["version"] for one in found] == ["1", "2"]
