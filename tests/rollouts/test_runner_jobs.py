"""What a runner hands to its executor, and from what it takes it; nothing of it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.accounts.terms import TERMS
from harnesses.agents.options import Options
from harnesses.base import Budget, ModelSpec, Status
from sandboxes.base import Limits
from skillopt.core.skill import Skill, SkillError
from skillopt.core.types import Reward, Task
from skillopt.rollouts import runner as module
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.question import read_template
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, prepare
from skillopt.rollouts.runner import RolloutRunner, _ran
from skillopt.run.events import Event
from skillopt.run.records import Noted
from skillopt.run.spending import Meter
from tests.helpers.small import small_config, small_set
from tests.helpers.values import a_result, a_task

SKILL = Skill("house", "House rules.", "- Use UTC.\n")
BESIDE = Skill("notes", "Takes notes.", "- Be brief.\n")
JUDGE = JudgeSpec(ModelSpec("judges", "j"), read_template(None))
WORDED = replace(a_task(), expectations=("It greets.",))


def judged(task: Task, workspace: Path, answer: str) -> Reward:
    return Reward(1.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("jobs")
    small_set(folder, ("logs",))
    return prepare(small_config(folder))


@pytest.fixture
def make(prepared: Prepared, tmp_path: Path) -> Any:
    """Makes a runner that is not entered; its config's sections are changed as told."""

    def made(events: list[Event] | None = None, own: Any = None, **sections: Any) -> RolloutRunner:
        config = prepared.config.model_copy(update={"runs": tmp_path / "runs"})
        for name, values in sections.items():
            new = values
            if isinstance(values, dict):
                new = getattr(config, name).model_copy(update=values)
            config = config.model_copy(update={name: new})
        found = replace(prepared, config=config, meter=Meter(config.limits), **(own or {}))
        return RolloutRunner(found, (events if events is not None else []).append)

    return made


def job(runner: RolloutRunner, task: Task, skill: Skill | None = SKILL) -> Any:
    agent = runner.harness(runner.config.harness.name)
    folder = runner._skill_folder(skill) if skill else None
    return runner._job(task, skill, folder, agent, 3)


def test_a_job_has_all_that_its_config_says_of_a_rollout(make: Any) -> None:
    verifier = {"plugins": Plugins(verifier=judged), "judge": JUDGE, "beside": (BESIDE,)}
    runner = make(
        own=verifier,
        harness={"max_requests": 7, "max_tokens": 900, "mount": "both"},
        target={"name": "m", "sampling": {"temperature": 0.5}},
    )
    found = job(runner, WORDED)
    assert found.task is WORDED and found.budget == Budget(7, 900) and found.mount == "both"
    assert (found.model.name, found.model.sampling) == ("m", {"temperature": 0.5})
    assert found.limits == Limits(**runner.config.sandbox.limits.model_dump())
    assert found.verifier is judged and found.judge is JUDGE and found.openings is None
    assert found.harness is runner.harness("direct")
    assert found.skill.name == "house" and found.skill.parent.name == SKILL.digest
    assert [folder.name for folder in found.beside] == ["notes"]
    assert "Be brief" in (found.beside[0] / "SKILL.md").read_text()
    assert found.identity.replicate == 3 and found.identity.model == found.model
    assert found.identity.agent["beside"] == {"notes": BESIDE.digest}
    assert found.identity.agent["judge"] == JUDGE.to_json()
    assert found.identity.agent["verifier"] == runner.parts["verifier"]
    assert job(runner, a_task(), None).skill is None
    assert job(runner, a_task()).judge is None


def test_the_limits_of_a_sandbox_are_the_configs(make: Any, prepared: Prepared) -> None:
    limits = prepared.config.sandbox.limits.model_copy(update={"pids": 33})
    assert job(make(sandbox={"limits": limits}), a_task()).limits.pids == 33


def test_plain_rollouts_are_identified_by_no_more_than_they_need(make: Any) -> None:
    runner = make()
    agent = job(runner, a_task()).identity.agent
    assert set(agent) == {"name", "version", "sandbox", "budget"}
    options = Options.model_validate({"effort": "high"})
    named = job(make(harness={"options": options}), a_task()).identity.agent
    assert named == {**agent, "options": {"effort": "high"}}


class Mine:
    def __init__(self, name: str) -> None:
        self.name = name

    def version(self) -> str:
        return "9"


@pytest.mark.parametrize("name", ["mine", "direct"])
def test_a_harness_of_the_users_own_takes_the_place_of_the_configs(name: str, make: Any) -> None:
    mine: Any = Mine(name)
    runner = make(own={"plugins": Plugins(harness=mine)})
    assert runner.harness("direct") is mine is runner.harness(name)
    assert runner.harness("codex").name == "codex"
    runner.parts = {"harness": "mine@9"}
    agent = runner._identity(a_task(), SKILL, mine, 0).agent
    assert (agent["own"], agent["version"], agent["name"]) == ("mine@9", "9", name)
    other = runner._identity(a_task(), SKILL, runner.harness("codex"), 0).agent
    assert "own" not in other


@pytest.mark.parametrize(
    ("logins", "first", "told"),
    [
        ({"target": "claude-plan"}, True, True),
        ({"optimizer": "claude-plan"}, True, True),
        ({"target": "claude-plan"}, False, False),
        ({"target": "chatgpt"}, True, False),
        ({}, True, False),
    ],
)
def test_the_terms_are_told_of_a_claude_plan_only(
    logins: dict[str, str], first: bool, told: bool, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    runner = make(events, target={"upstream": "target"}, optimizer={"upstream": "optimizer"})
    asked: list[str] = []

    def first_use(text: str) -> bool:
        asked.append(text)
        return first

    monkeypatch.setattr(module, "login", lambda config, name: logins.get(name, ""))
    monkeypatch.setattr(module, "first_use", first_use)
    runner._tell_terms()
    assert [event.text for event in events if isinstance(event, Noted)] == [TERMS] * told
    assert asked == [TERMS] * ("claude-plan" in logins.values()), "another run has its own first"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What an entered runner opens and closes, in order."""
    said: list[Any] = []

    @contextmanager
    def lasting(name: str, value: Any) -> Iterator[Any]:
        said.append(name)
        yield value
        said.append(f"no {name}")

    def open_gateway(*values: Any) -> Any:
        said.append(values)
        gateway = SimpleNamespace(close=lambda: said.append("gateway closed"))
        return lasting("gateway", gateway)

    def make_executor(*values: Any) -> Any:
        said.append(values)

        class Executor:
            def __enter__(self) -> Executor:
                said.append("executor")
                return self

            def __exit__(self, *exc: object) -> None:
                said.append("no executor")

            def cancel(self) -> None:
                said.append("executor cancelled")

        return Executor()

    def questions(*values: Any) -> Any:
        said.append("questions")
        return SimpleNamespace(
            close=lambda: said.append("no questions"),
            cancel=lambda: said.append("questions cancelled"),
        )

    monkeypatch.setattr(module, "open_gateway", open_gateway)
    monkeypatch.setattr(module, "make_executor", make_executor)
    monkeypatch.setattr(module, "Questions", questions)
    monkeypatch.setattr(module, "check_signed_in", lambda config: said.append("signed in"))
    return said


def test_a_runner_is_entered_from_the_service_on_and_left_in_the_opposite_order(
    make: Any, steps: list[Any]
) -> None:
    given: Any = {"other": object()}
    runner = make(own={"plugins": Plugins(upstreams=given)}, workers=3)
    with runner as entered:
        assert entered is runner and runner._ahead is None
        assert runner.pool._max_workers == 3
        assert runner.pool.submit(lambda: 7).result(5) == 7
    opened, made = (step for step in steps if isinstance(step, tuple))
    price = runner.prepared.prices.cost
    assert opened == (runner.config, given, price, runner._waited, runner._plan_used)
    assert made == (
        runner.config, runner.gateway, runner.prepared.plugins, runner.listener,
    )  # fmt: skip
    assert [step for step in steps if isinstance(step, str)] == [
        "gateway", "signed in", "questions", "executor",
        "gateway closed", "questions cancelled", "executor cancelled",
        "no executor", "no questions", "no gateway",
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="shutdown"):
        runner.pool.submit(print)


def test_what_was_opened_is_closed_if_the_executor_cannot_be_made(
    make: Any, steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenError(Exception):
        pass

    def make_executor(*values: Any) -> Any:
        raise BrokenError

    monkeypatch.setattr(module, "make_executor", make_executor)
    runner = make()
    with ExitStack() as stack:
        stack.callback(steps.append, "end")
        with pytest.raises(BrokenError):
            runner.__enter__()
    assert steps[-2:] == ["no questions", "end"]


def test_workers_for_what_is_run_in_advance_are_as_many_and_end_with_the_runner(
    make: Any, prepared: Prepared, steps: list[Any]
) -> None:
    runner = make(train={"ahead": 1.0}, workers=3)
    with runner:
        ahead = runner._ahead
        assert ahead._workers == 3
        assert (ahead._run.func, ahead._run.keywords) == (runner._rollout, {"stage": "ahead"})
    with pytest.raises(RuntimeError, match="shutdown"):
        ahead._pool.submit(print)


def test_a_runner_that_has_no_executor_yet_can_be_cancelled(make: Any, steps: list[Any]) -> None:
    runner = make()
    runner.gateway = cast(Any, SimpleNamespace(close=lambda: steps.append("gateway closed")))
    runner.questions = cast(Any, SimpleNamespace(cancel=lambda: steps.append("cancelled")))
    runner.cancel()
    assert steps == ["gateway closed", "cancelled"] and runner._cancelled.is_set()


MARKED = "\ufeff---\nname: house\ndescription: House rules.\n---\n\n- x\n"


@pytest.fixture
def marked(tmp_path: Path) -> Skill:
    """A skill that Codex would not load."""
    from skillopt.core.skill import read_skill

    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "SKILL.md").write_text(MARKED)
    return read_skill(tmp_path / "house")


@pytest.mark.parametrize(
    ("agent", "mount", "refused"),
    [
        ("codex", "native", True),
        ("codex", "instructions", False),
        ("codex", "both", True),
        ("direct", "native", False),
    ],
)
def test_a_skill_that_the_agent_would_not_load_is_not_run(
    agent: str, mount: str, refused: bool, make: Any, marked: Skill
) -> None:
    runner = make(harness={"name": agent, "mount": mount})
    if refused:
        with pytest.raises(SkillError, match="byte order mark"):
            runner.check_skill(marked)
        with pytest.raises(SkillError, match="byte order mark"):
            runner.rollouts([a_task()], marked)
        with pytest.raises(SkillError, match="byte order mark"):
            runner.rollouts_of_each([(SKILL, a_task(), 0), (marked, a_task(), 0)])
    else:
        runner.check_skill(marked)


def test_other_skills_are_checked_with_each(make: Any, marked: Skill) -> None:
    codex = make(own={"beside": (BESIDE, marked)}, harness={"name": "codex"})
    with pytest.raises(SkillError, match="byte order mark"):
        codex._check_skill(None, "codex")
    codex._check_skill(None, "direct")
    twice = make(own={"beside": (BESIDE, SKILL)})
    with pytest.raises(SkillError, match="house"):
        twice.check_skill(SKILL)
    twice.check_skill(Skill("third", "Rules.", "- x\n"))


def test_a_skill_is_written_once_and_without_the_files_of_tasks(
    make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runner = make()
    (tmp_path / "cases.json").write_bytes(b"[1]")
    runner._evals = [tmp_path / "cases.json"]
    whole = replace(SKILL, files={"evals/cases.json": b"[1]", "notes.md": b"n"})
    folder = runner._skill_folder(whole)
    assert sorted(path.name for path in folder.rglob("*")) == ["SKILL.md", "notes.md"]
    monkeypatch.setattr(module, "write_skill", None)
    assert runner._skill_folder(whole) == folder
    assert folder.parent.parent == runner.store.root / "skills" and folder.name == "house"


def test_where_tasks_come_from_is_looked_through_for_their_files(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "eval_files", lambda source: [Path(source) / "evals.json"])
    monkeypatch.setattr(module, "row_files", lambda source: [Path(source) / "rows.csv"])
    runner = make(tasks={"source": "here"})
    assert runner._evals == [Path("here/evals.json"), Path("here/rows.csv")]


@pytest.mark.parametrize(
    ("status", "message", "recorded"),
    [
        (Status.COMPLETED, "noted", ""),
        (Status.AGENT_ERROR, "it broke", "it broke"),
        (Status.INFRA_ERROR, "no engine", "no engine"),
        (Status.CANCELLED, "ended", "ended"),
    ],
)
def test_a_record_is_of_the_kept_rollout_and_the_attempts_time(
    status: Status, message: str, recorded: str, tmp_path: Path
) -> None:
    kept = a_result(tmp_path, key="k1", status=status, message=message, task=a_task("kept"))
    ran = a_result(tmp_path, key="k2", duration_s=2.0006, service_s=1.0004, message="other")
    found = _ran(kept, ran, "gate", kept.usage)
    assert (found.stage, found.key, found.task) == ("gate", "k1", "kept")
    assert (found.status, found.message, found.usage) == (status, recorded, kept.usage)
    assert (found.seconds, found.service_seconds) == (2.001, 1.0)
