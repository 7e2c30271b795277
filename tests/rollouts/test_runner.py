"""Batches through the store, with retries and limits, by an executor of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from harnesses.accounts.terms import TERMS
from harnesses.base import ModelSpec, Openings, Status, Usage
from harnesses.gateway.service import PlanUse, Wait
from sandboxes.base import SandboxError
from skillopt.config.schema import RunLimitsConfig
from skillopt.core.errors import PausedError
from skillopt.core.import_path import OwnCodeError
from skillopt.core.judgement import Judgement
from skillopt.core.skill import Skill, write_skill
from skillopt.core.types import Reward, Rollout, Task, Triggers
from skillopt.rollouts import runner as module
from skillopt.rollouts.executors import LostAttemptError
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.question import read_template
from skillopt.rollouts.prepare import Prepared, prepare
from skillopt.rollouts.questions import Questions
from skillopt.rollouts.rollout import Job
from skillopt.rollouts.runner import RolloutRunner
from skillopt.rollouts.store import OUTCOME
from skillopt.run.events import Event, RolloutFinished, RolloutStarted, ServiceWaited
from skillopt.run.records import JudgeAsked, Noted, PlanUsed, RolloutRan, RolloutsAsked
from skillopt.run.spending import LimitReachedError, Meter
from tests.helpers.small import small_config, small_set
from tests.helpers.values import a_result, a_task

SKILL = Skill("house", "House rules.", "- Use UTC.\n")
TASKS = [replace(a_task(f"task-{n}"), family=f"f{n}") for n in range(3)]
FAILED = {"status": Status.INFRA_ERROR, "message": "no engine", "reward": Reward(0.0)}


@dataclass
class FakeGateway:
    why: dict[str, str] = field(default_factory=dict)
    upstreams: dict[str, Any] = field(default_factory=lambda: {"sim": None})
    closed: int = 0

    def blocked(self, name: str) -> str:
        return self.why.get(name, "")

    def raised(self, name: str) -> Exception | None:
        return None

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeExecutor:
    """Gives what a test says, for each attempt in turn, and then what is completed."""

    answers: list[Any] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    cancelled: int = 0
    entered: int = 0

    def __enter__(self) -> FakeExecutor:
        self.entered += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self.entered -= 1

    def attempt(self, job: Job, folder: Path) -> Any:
        self.jobs.append(job)
        answer = self.answers.pop(0) if self.answers else {}
        if callable(answer):
            answer = answer(job, folder)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, dict):
            return answer
        values = {"key": job.key, "task": job.task, "identity": job.identity.to_json()}
        return a_result(folder, **values | answer)

    def cancel(self) -> None:
        self.cancelled += 1


@dataclass
class Place:
    runner: RolloutRunner
    executor: FakeExecutor
    gateway: FakeGateway
    events: list[Any]

    def run(
        self, tasks: Sequence[Task] = TASKS[:1], skill: Skill | None = None, **more: Any
    ) -> Any:
        return self.runner.rollouts(tasks, skill, **more)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("runner")
    small_set(folder, ("logs",))
    return prepare(small_config(folder))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_WAIT_S", 0.001)


@pytest.fixture
def made(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes an entered runner; its config is changed as told."""
    with ExitStack() as stack:

        def make(
            limits: RunLimitsConfig | None = None, judge: JudgeSpec | None = None, **changes: Any
        ) -> Place:
            place = Place(cast(Any, None), FakeExecutor(), FakeGateway(), [])

            @contextmanager
            def open_gateway(*arguments: Any) -> Iterator[FakeGateway]:
                yield place.gateway

            monkeypatch.setattr(module, "open_gateway", open_gateway)
            config = prepared.config.model_copy(
                update={"runs": tmp_path / "runs", "workers": 2, "rollout_tries": 3} | changes
            )
            plugins = replace(prepared.plugins, executor=cast(Any, place.executor))
            own = replace(
                prepared, config=config, plugins=plugins, judge=judge,
                meter=Meter(limits or config.limits),
            )  # fmt: skip
            place.runner = RolloutRunner(own, place.events.append)
            stack.enter_context(place.runner)
            return place

        yield make


@pytest.fixture
def place(made: Any) -> Place:
    found: Place = made()
    return found


def test_each_task_has_its_rollout_in_their_order_and_is_run_once(place: Place) -> None:
    found = place.run(TASKS, SKILL, stage="gate", replicate=2)
    assert [one.task.name for one in found] == [task.name for task in TASKS]
    assert {one.identity["replicate"] for one in found} == {2}
    assert {one.identity["skill"] for one in found} == {SKILL.digest}
    keys = [one.key for one in found]
    (asked,) = place.of(RolloutsAsked)
    assert (asked.stage, list(asked.keys)) == ("gate", keys)
    assert {event.task for event in place.of(RolloutStarted)} == {task.name for task in TASKS}
    assert [event.stored for event in place.of(RolloutFinished)] == [False] * 3
    ran = place.of(RolloutRan)
    assert {(one.stage, one.status, one.message) for one in ran} == {("gate", Status.COMPLETED, "")}
    assert ran[0].usage == Usage(2, 10, 5, 3, None) and ran[0].seconds == 1.5
    place.events.clear()
    again = place.run(TASKS, SKILL, stage="gate", replicate=2)
    assert again == found and len(place.executor.jobs) == 3
    assert [event.stored for event in place.of(RolloutFinished)] == [True] * 3
    assert not place.of(RolloutRan) and not place.of(RolloutsAsked)
    assert place.run(TASKS[:1], None)[0].identity["skill"] is None
    job = place.executor.jobs[-1]
    assert (
        job.skill is None
        and job.identity.replicate == 0
        and place.of(RolloutRan)[0].stage == "eval"
    )


def test_tasks_of_the_same_content_share_a_rollout(place: Place) -> None:
    alike = replace(TASKS[0], name="other name")
    first, other, third = place.run([TASKS[0], alike, TASKS[1]])
    assert first.key == other.key != third.key and len(place.executor.jobs) == 2
    assert (first.task.name, other.task.name) == ("task-0", "other name")
    finished = {(event.rollout.task.name, event.stored) for event in place.of(RolloutFinished)}
    assert finished == {("task-0", False), ("task-1", False), ("other name", True)}


def test_several_skills_run_at_once(place: Place) -> None:
    other = Skill("house", "House rules.", "- Use local time.\n")
    runs = [(SKILL, TASKS[0], 0), (other, TASKS[1], 1), (SKILL, TASKS[0], 1)]
    found = place.runner.rollouts_of_each(runs, stage="race")
    assert [(r.identity["skill"], r.task.name, r.identity["replicate"]) for r in found] == [
        (skill.digest, task.name, number) for skill, task, number in runs
    ]
    assert {one.stage for one in place.of(RolloutRan)} == {"race"}
    texts = {(job.skill / "SKILL.md").read_text() for job in place.executor.jobs if job.skill}
    assert len(texts) == 2
    place.executor.answers = [FAILED] * 3
    with pytest.raises(PausedError, match="1 of 1 rollouts failed"):
        place.runner.rollouts_of_each([(SKILL, TASKS[2], 5)])


def test_a_failure_of_the_infrastructure_is_tried_again(place: Place) -> None:
    place.executor.answers = [FAILED, SandboxError("no engine")]
    (found,) = place.run()
    assert found.status is Status.COMPLETED and len(place.executor.jobs) == 3
    statuses = [(one.status, one.message) for one in place.of(RolloutRan)]
    assert statuses == [(Status.INFRA_ERROR, "no engine")] * 2 + [(Status.COMPLETED, "")]
    assert len(place.of(RolloutStarted)) == len(place.of(RolloutFinished)) == 1
    assert not list((place.runner.store.root / "tmp").iterdir())


@pytest.mark.parametrize("status", [Status.AGENT_ERROR, Status.AGENT_TIMEOUT])
def test_what_the_agent_does_wrong_is_not_tried_again(status: Status, place: Place) -> None:
    place.executor.answers = [{"status": status, "message": "why"}]
    (found,) = place.run()
    assert found.status is status and len(place.executor.jobs) == 1
    assert place.of(RolloutRan)[0].message == "why"
    assert place.runner.store.get(found.key, TASKS[0]) == found


@pytest.mark.parametrize(
    ("failures", "share", "pauses"),
    [(0, 0.0, False), (1, 0.0, True), (1, 0.33, True), (1, 0.34, False), (2, 0.34, True)],
)
def test_too_many_failures_pause_the_run(
    failures: int, share: float, pauses: bool, made: Any
) -> None:
    place = made(rollout_tries=1, workers=1)
    place.executor.answers = [FAILED] * failures
    if pauses:
        message = rf"{failures} of 3 rollouts failed for infrastructure, the last: task-"
        with pytest.raises(PausedError, match=message + r"\d: no engine\nNo work is lost"):
            place.run(TASKS, max_infra_share=share)
    else:
        found = place.run(TASKS, max_infra_share=share)
        assert sum(not one.status.scored for one in found) == failures
    assert len(list(place.runner.store.failures())) == failures
    assert len(list(place.runner.store.folders())) == 3 - failures


def test_a_service_that_is_blocked_is_not_asked_again(place: Place) -> None:
    def fails(job: Job, folder: Path) -> Any:
        place.gateway.why["sim"] = "no credit"
        return FAILED

    place.executor.answers = [fails]
    with pytest.raises(PausedError, match=r"^no credit\nNo work is lost"):
        place.run(max_infra_share=1.0)
    assert len(place.executor.jobs) == 1
    place.run([TASKS[1]])  # What succeeds all the same is a result.


def test_what_a_lost_attempt_has_used_is_counted(place: Place) -> None:
    used = Usage(requests=4, estimated=True)
    place.executor.answers = [LostAttemptError("node a is gone", used)]
    place.run()
    assert [one.usage for one in place.of(RolloutRan)] == [used, Usage(2, 10, 5, 3, None)]


def test_the_agents_usage_is_counted_once_if_only_its_verdict_is_missing(place: Place) -> None:
    def unjudged(job: Job, folder: Path) -> Any:
        (folder / OUTCOME).write_text("{}")
        return FAILED | {"usage": Usage(requests=7)}

    place.executor.answers = [unjudged, {"usage": Usage(requests=7)}]
    (found,) = place.run()
    assert [one.usage.requests for one in place.of(RolloutRan)] == [7, 0]
    assert found.usage.requests == 7


def test_a_mistake_of_the_users_own_stops_what_comes(made: Any) -> None:
    place = made(workers=1)
    place.executor.answers = [OwnCodeError("verifier: raised")]
    with pytest.raises(OwnCodeError, match="verifier: raised"):
        place.run(TASKS)
    assert len(place.executor.jobs) == 1 and len(list(place.runner.store.failures())) == 1
    assert place.of(RolloutRan)[0].status is Status.INFRA_ERROR
    with pytest.raises(OwnCodeError, match="verifier: raised"):
        place.run(TASKS[1:])
    assert len(place.executor.jobs) == 1


def test_an_executor_that_gives_no_rollout_is_a_mistake(place: Place) -> None:
    place.executor.answers = ["done"]
    with pytest.raises(OwnCodeError, match=r"executor local.*it returned 'done'; return a Rollout"):
        place.run()


def test_a_limit_ends_what_has_not_begun(made: Any) -> None:
    place = made(RunLimitsConfig(rollouts=2), workers=1)
    with pytest.raises(LimitReachedError):
        place.run(TASKS)
    assert len(place.executor.jobs) == 2


def test_what_runs_is_cancelled_and_kept_as_that(place: Place) -> None:
    def cancelled(job: Job, folder: Path) -> Any:
        place.runner.cancel()
        return FAILED

    place.executor.answers = [cancelled]
    with pytest.raises(PausedError):
        place.run()
    assert place.of(RolloutRan)[0].status is Status.CANCELLED and len(place.executor.jobs) == 1
    assert place.executor.cancelled == place.gateway.closed == 1
    place.executor.answers = [{}]
    place.run(TASKS[1:2])  # What is scored all the same stays so.
    assert place.of(RolloutRan)[-1].status is Status.COMPLETED


def test_leaving_it_cancels_all(made: Any) -> None:
    place = made()
    assert place.executor.entered == 1
    place.runner.__exit__(None, None, None)
    assert place.executor.cancelled == 1 and place.executor.entered == 0


def test_an_outage_is_noted_when_it_begins_and_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "now", lambda: 107.0)
    for wait in (
        Wait("sim", "busy", 100.0, 101.0),
        Wait("sim", "busy", 100.0, 103.0),
        Wait("other", "down", 100.0, 103.0),
        Wait("sim", "busy", 100.0, None),
        Wait("sim", "busy again", 107.0, 108.0),
    ):
        place.runner._waited(wait)
    assert [note.text for note in place.of(Noted)] == [
        "waiting for model service sim: busy",
        "waiting for model service other: down",
        "model service sim replies again, after 7 s",
        "waiting for model service sim: busy again",
    ]
    assert len(place.of(ServiceWaited)) == 5


JUDGE = JudgeSpec(ModelSpec("judges", "j"), read_template(None))
WORDED = replace(TASKS[0], expectations=("It greets.",))


def test_what_a_judge_has_cost_is_counted_apart(made: Any) -> None:
    place = made(judge=JUDGE)
    asked = Judgement(model="j", usage=Usage(requests=1, prompt_tokens=9))
    place.executor.answers = [{"judgement": asked}, {"judgement": Judgement(model="j")}]
    (found,) = place.run([WORDED])
    (record,) = place.of(JudgeAsked)
    assert (record.key, record.task, record.usage) == (found.key, "task-0", asked.usage)
    assert place.runner.meter.stages["judge"].tokens == 9
    assert place.executor.jobs[0].judge is JUDGE
    assert found.identity["harness"]["judge"] == JUDGE.to_json()
    place.run([replace(WORDED, digest="other")])
    assert len(place.of(JudgeAsked)) == 1, "it was not asked"
    place.run([TASKS[1]])
    assert place.executor.jobs[-1].judge is None


def test_a_limit_on_the_judge_ends_judged_rollouts_only(made: Any) -> None:
    limits = RunLimitsConfig.model_validate({"stages": {"judge": {"tokens": 9}}})
    place = made(limits, judge=JUDGE)
    asked = Judgement(model="j", usage=Usage(requests=1, prompt_tokens=9))
    place.executor.answers = [{"judgement": asked}]
    place.run([WORDED])
    with pytest.raises(LimitReachedError, match=r"limits\.stages\.judge\.tokens"):
        place.run([replace(WORDED, digest="other")])
    place.run([TASKS[1]])


def test_a_blocked_judge_is_not_asked_again(made: Any) -> None:
    place = made(judge=JUDGE)
    place.gateway.why = {"judges": "no credit"}
    place.executor.answers = [FAILED]
    with pytest.raises(PausedError, match="1 of 1 rollouts failed"):
        place.run([WORDED])
    assert len(place.executor.jobs) == 1
    place.executor.answers = [FAILED]
    place.run([TASKS[1]])
    assert len(place.executor.jobs) == 3, "this one asks no judge"


TRIGGERED = replace(TASKS[0], triggers=Triggers(opened=("house",)), digest="triggered")


def test_a_task_of_openings_is_over_when_they_are_known(place: Place) -> None:
    place.run([TRIGGERED], SKILL)
    (job,) = place.executor.jobs
    assert isinstance(job.openings, Openings) and job.openings.wanted == {"house"}
    calls = place.runner.config.triggers.calls
    assert job.identity.agent["triggers"] == calls == job.openings.calls
    place.run([TASKS[0]], SKILL)
    assert place.executor.jobs[-1].openings is None
    assert "triggers" not in place.executor.jobs[-1].identity.agent


def test_work_is_judged_with_the_skill_that_it_was_done_with(place: Place) -> None:
    place.run([TRIGGERED], SKILL)
    (job,) = place.executor.jobs
    again = place.runner.judging(TRIGGERED, job.identity)
    assert again.identity is job.identity and again.skill == job.skill is not None
    assert again.openings == job.openings
    without = place.runner.judging(TASKS[0], replace(job.identity, skill=None))
    gone = place.runner.judging(TASKS[0], replace(job.identity, skill="0" * 64))
    assert without.skill is None and gone.skill is None


@pytest.mark.parametrize(
    ("harness", "own", "identified"),
    [
        ({}, True, {}),
        ({"mount": "both"}, True, {"mount": "both"}),
        ({"mode": "interactive"}, True, {"mode": "interactive"}),
        ({"max_requests": 7}, True, {"budget": [7, 20_000_000]}),
        ({"mode": "interactive", "mount": "both"}, False, {"mount": "both"}),
    ],
)
def test_what_of_the_config_identifies_a_rollout(
    harness: dict[str, Any], own: bool, identified: dict[str, Any], place: Place
) -> None:
    runner = place.runner
    settings = runner.config.harness.model_copy(update=harness)
    runner.config = runner.config.model_copy(update={"harness": settings})
    agent = runner.harness("direct" if own else "codex")
    found = runner._identity(TASKS[0], SKILL, agent, 0).agent
    plain = {"name": agent.name, "version": agent.version(), "budget": [200, 20_000_000]}
    assert {k: v for k, v in found.items() if k != "sandbox"} == plain | identified
    without = runner._identity(TASKS[0], None, agent, 0)
    assert "mount" not in without.agent and without.skill is None
    assert without.service["kind"] == "sim" and without.model.name == "sim-1"
    assert (
        runner.key(TASKS[0], SKILL, agent.name) == runner._identity(TASKS[0], SKILL, agent, 0).key
    )


def test_in_advance_is_run_what_is_not_stored_and_waited_for_once(
    made: Any, prepared: Prepared
) -> None:
    train = prepared.config.train.model_copy(update={"ahead": 1.0})
    place = made(train=train)
    go = threading.Event()

    def waits(job: Job, folder: Path) -> Any:
        assert go.wait(5)
        return {}

    place.run(TASKS[:1], SKILL, stage="train")
    place.executor.answers = [waits]
    with place.runner.ahead([TASKS[0], TASKS[1], TASKS[1]], SKILL):
        end = threading.Event()
        while len(place.executor.jobs) < 2:
            end.wait(0.001)
        go.set()
        found = place.run(TASKS, SKILL, stage="train")
    assert [one.task.name for one in found] == [task.name for task in TASKS]
    assert sorted(job.task.name for job in place.executor.jobs) == [t.name for t in TASKS]
    stages = {one.task: one.stage for one in place.of(RolloutRan)}
    assert stages == {"task-0": "train", "task-1": "ahead", "task-2": "train"}


def test_without_it_nothing_is_run_in_advance(place: Place) -> None:
    with place.runner.ahead(TASKS, SKILL):
        pass
    assert not place.executor.jobs


def test_a_full_disk_stops_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []

    def check_room() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise OSError(28, "1 MiB are left")

    monkeypatch.setattr(place.runner.store, "check_room", check_room)
    with pytest.raises(OSError, match="are left"):
        place.run()
    assert not list(place.runner.store.folders()) and not list(place.runner.store.failures())


def test_rollouts_are_announced_while_they_run(place: Place) -> None:
    seen: list[Any] = []

    def looks(job: Job, folder: Path) -> Any:
        seen.extend(place.runner.store.under_way())
        return {}

    place.executor.answers = [looks]
    (found,) = place.run()
    assert [(one.key, one.task) for one in seen] == [(found.key, "task-0")]
    assert not place.runner.store.under_way()


def test_a_plan_is_recorded_when_it_has_changed_by_more_than_a_little(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[tuple[Any, ...]] = [("a",), ("a",), ("b",), ("b", "c"), ("b", "c"), ()]
    monkeypatch.setattr(module, "differ", lambda one, other: one != other)
    monkeypatch.setattr(module, "PlanUsed", lambda **values: PlanUsed.model_construct(**values))
    monkeypatch.setattr(place.runner.meter, "add", lambda record: added.append(record))
    added: list[Any] = []
    for each in windows:
        place.runner._plan_used(PlanUse("sim", each))
    assert [record.windows for record in place.of(PlanUsed)] == [
        ("a",), ("b",), ("b", "c"), (),
    ]  # fmt: skip
    assert len(added) == 6, "the meter knows all"


def test_a_rollout_that_another_process_has_stored_is_the_result(place: Place) -> None:
    def faster(job: Job, folder: Path) -> Any:
        with place.runner.store.begin(job.key) as theirs:
            place.runner.store.commit(a_result(theirs, key=job.key, answer="theirs"))
        return {"answer": "mine", "duration_s": 9.0}

    place.executor.answers = [faster]
    (found,) = place.run()
    assert found.answer == "theirs" and place.of(RolloutRan)[0].seconds == 9.0
    assert isinstance(found, Rollout)


def test_harnesses_are_made_once_and_the_configs_own_with_its_settings(
    made: Any, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def make_harness(*arguments: Any) -> Any:
        asked.append(arguments)
        return object()

    monkeypatch.setattr(module, "make_harness", make_harness)
    runner = made().runner
    own = runner.config.harness
    first = runner.harness(own.name)
    assert runner.harness(own.name) is first and runner.harness("codex") is not first
    assert asked == [(own.name, own.version, own.options, own.mode), ("codex",)]


def test_another_harness_runs_if_it_is_named(place: Place) -> None:
    (found,) = place.run(harness="codex")
    assert found.identity["harness"]["name"] == "codex"
    assert place.executor.jobs[0].harness.name == "codex"


def test_the_second_attempt_waits_and_each_further_one_twice_as_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module, "RETRY_WAIT_S", 1.0)
    monkeypatch.setattr(place.runner._cancelled, "wait", waits.append)
    place.executor.answers = [FAILED, FAILED]
    place.run()
    assert waits == [1.0, 2.0]


def test_seconds_are_recorded_to_the_millisecond(place: Place) -> None:
    place.executor.answers = [{"duration_s": 1.23456, "service_s": 0.12356}]
    place.run()
    (record,) = place.of(RolloutRan)
    assert (record.seconds, record.service_seconds) == (1.235, 0.124)


def test_a_skill_that_another_process_has_written_meanwhile_is_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(skill: Skill, folder: Path) -> None:
        write_skill(skill, folder)
        raise OSError(17, "it is there")

    monkeypatch.setattr(module, "write_skill", slower)
    place.run(TASKS[:1], SKILL)
    assert place.executor.jobs[0].skill is not None

    def fails(skill: Skill, folder: Path) -> None:
        raise OSError(13, "denied")

    monkeypatch.setattr(module, "write_skill", fails)
    with pytest.raises(OSError, match="denied"):
        place.run(TASKS[:1], Skill("other", "Rules.", "- x\n"))


def test_a_verifier_of_the_users_own_judges_tasks_of_openings(made: Any) -> None:
    place = made()
    place.runner.parts = {"verifier": "own:judge#1"}
    place.run([TRIGGERED], SKILL)
    (job,) = place.executor.jobs
    assert job.openings is None and "triggers" not in job.identity.agent
    assert job.identity.agent["verifier"] == "own:judge#1"


def test_the_terms_of_a_plan_are_told_once_on_a_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "login", lambda config, name: "claude-plan")
    for first in (True, False):
        monkeypatch.setattr(module, "first_use", lambda text, first=first: first)
        place.runner._tell_terms()
    assert [note.text for note in place.of(Noted)] == [TERMS]


def test_all_is_closed_with_the_runner(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Questions, "close", lambda self: closed.append("questions"))
    place = made()
    pool = place.runner.pool
    place.runner.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(print)
    assert closed == ["questions"]


@pytest.mark.parametrize(
    ("begun", "runs"),
    [({"answer": "early"}, False), (LimitReachedError("limits.rollouts"), True)],
)
def test_what_was_begun_in_advance_is_taken_unless_a_limit_has_ended_it(
    begun: Any, runs: bool, made: Any, prepared: Prepared
) -> None:
    place = made(train=prepared.config.train.model_copy(update={"ahead": 1.0}))
    early: Future[Any] = Future()
    if isinstance(begun, dict):
        early.set_result(a_result(Path("/nowhere"), task=TASKS[0], **begun))
    else:
        early.set_exception(begun)
    place.runner._ahead._begun[place.runner.key(TASKS[0], SKILL)] = early
    (found,) = place.run(TASKS[:1], SKILL)
    assert len(place.executor.jobs) == runs and found.answer == ("done" if runs else "early")
    assert (place.runner._ahead._wanted, place.runner._ahead._holding) == (0, 0)


def test_a_mistake_in_what_was_begun_in_advance_is_told(made: Any, prepared: Prepared) -> None:
    place = made(train=prepared.config.train.model_copy(update={"ahead": 1.0}))
    early: Future[Any] = Future()
    early.set_exception(OwnCodeError("verifier: raised"))
    place.runner._ahead._begun[place.runner.key(TASKS[0], SKILL)] = early
    with pytest.raises(OwnCodeError, match="verifier: raised"):
        place.run(TASKS[:1], SKILL)
    assert not place.executor.jobs


@pytest.mark.parametrize("error", [LimitReachedError("limits.usd"), OwnCodeError("raised")])
def test_what_runs_is_finished_before_a_run_ends_and_nothing_else_begins(
    error: Exception, place: Place
) -> None:
    first, go = Future[Any](), threading.Event()
    first.set_exception(error)
    with ThreadPoolExecutor(1) as pool:
        running, waiting = (pool.submit(cast(Any, act), 5) for act in (go.wait, print))
        threading.Timer(0.02, go.set).start()
        with pytest.raises(type(error)):
            place.runner._all([first, running, waiting])
        assert running.done() and waiting.cancelled()


def test_another_failure_is_told_at_once(place: Place) -> None:
    first, waiting = Future[Any](), Future[Any]()
    first.set_exception(ValueError("odd"))
    with pytest.raises(ValueError, match="odd"):
        place.runner._all([first, waiting])
    assert not waiting.cancelled()


def test_the_first_mistake_of_the_users_own_is_the_one_that_is_told(place: Place) -> None:
    both = threading.Barrier(2, timeout=5)

    def raises(job: Job, folder: Path) -> Any:
        both.wait()
        return OwnCodeError(f"verifier: {job.task.name}")

    place.executor.answers = [raises, raises]
    with pytest.raises(OwnCodeError):
        place.run(TASKS[:2])
    first = place.runner._own_error
    assert first is not None and len(place.of(RolloutRan)) == 2
    with pytest.raises(OwnCodeError) as again:
        place.run(TASKS[2:])
    assert again.value is first


def test_only_what_was_not_asked_for_before_is_recorded_as_asked(place: Place) -> None:
    place.run(TASKS[:1], stage="gate")
    place.run(TASKS[:2], stage="gate")
    place.run(TASKS[:2], stage="gate")
    asked = [(one.stage, len(one.keys)) for one in place.of(RolloutsAsked)]
    assert asked == [("gate", 1), ("gate", 1)]


def test_work_that_waits_for_another_verifier_is_found(place: Place) -> None:
    def unjudged(job: Job, folder: Path) -> Any:
        (folder / OUTCOME).write_text("{}")
        return FAILED

    seen: list[bool] = []

    def looks(job: Job, folder: Path) -> Any:
        seen.append((folder / OUTCOME).is_file())
        return {}

    place.runner.parts = {"verifier": "old"}
    place.executor.answers = [unjudged, unjudged, unjudged]
    with pytest.raises(PausedError):
        place.run()
    place.runner.parts = {"verifier": "new"}
    place.executor.answers = [looks]
    place.run()
    assert seen == [True]


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_an_attempt_is_made_as_often_as_the_config_says(tries: int, made: Any) -> None:
    place = made(rollout_tries=tries)
    place.executor.answers = [FAILED] * 9
    (found,) = place.run(max_infra_share=1.0)
    assert len(place.executor.jobs) == tries and found.status is Status.INFRA_ERROR
    assert found.message == "no engine" and found.folder == place.runner.store.failed(found.key)


@pytest.mark.parametrize(("kind", "given", "own"), [("local", False, False), ("local", True, True)])
def test_an_executor_of_the_users_own_is_to_blame_for_what_it_raises(
    kind: str, given: bool, own: bool, place: Place, tmp_path: Path
) -> None:
    place.executor.answers = [ValueError("odd")]
    if not given:
        plugins = replace(place.runner.prepared.plugins, executor=None)
        place.runner.prepared = replace(place.runner.prepared, plugins=plugins)
    job = place.runner._job(TASKS[0], None, None, place.runner.harness("direct"), 0)
    with pytest.raises(OwnCodeError if own else ValueError, match="odd") as error:
        place.runner.execute(job, tmp_path)
    assert isinstance(error.value, OwnCodeError) is own


def test_an_executor_that_a_config_names_is_the_users_own_too(place: Place, tmp_path: Path) -> None:
    runner = place.runner
    plugins = replace(runner.prepared.plugins, executor=None)
    runner.prepared = replace(runner.prepared, plugins=plugins)
    named = runner.config.executor.model_copy(update={"kind": "mine:Executor"})
    runner.config = runner.config.model_copy(update={"executor": named})
    place.executor.answers = [ValueError("odd"), SandboxError("no engine")]
    job = runner._job(TASKS[0], None, None, runner.harness("direct"), 0)
    with pytest.raises(OwnCodeError, match=r"executor mine:Executor.*odd"):
        runner.execute(job, tmp_path)
    with pytest.raises(SandboxError, match="no engine"):
        runner.execute(job, tmp_path)
