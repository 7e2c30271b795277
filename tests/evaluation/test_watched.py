"""A skill is scored after each save, agents are tried, and drafts written: decisions alone, with
stand-ins for what runs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.chat import ChatError
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import FileError, PausedError
from skillopt.core.import_path import OwnCodeError
from skillopt.core.skill import Skill, SkillError, write_skill
from skillopt.evaluation import agent_trial, draft_writer
from skillopt.evaluation import evaluate as evaluating
from skillopt.evaluation import watch as watched
from skillopt.evaluation.agent_trial import (
    TASKS,
    AgentTrial,
    ModeTrial,
    remember,
    remembered,
    try_agent,
)
from skillopt.evaluation.draft_writer import (
    CHARS,
    EXPECTATIONS,
    SHOWN_CHARS,
    DraftReply,
    prompt_for,
    write_with_model,
)
from skillopt.evaluation.evaluate import evaluate, score, with_target
from skillopt.evaluation.scoring import Row
from skillopt.evaluation.watch import Cancelled, Scored, Unscorable, subset, watch
from skillopt.run.events import EvaluationStarted, Event
from skillopt.run.records import StageStarted
from skillopt.run.spending import LimitReachedError
from skillopt.sim.knowledge import CHORES
from skillopt.tasks.drafts.drafts import Draft, Source, Trigger
from tests.helpers.values import a_rollout, a_task

TASK = a_task("t")
SKILL = Skill("mine", "Use it.", "# One")


class Watch:
    """A watch of one file: each round does something to it, and ends with a look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.path = folder / "mine"
        self.monkeypatch = monkeypatch
        self.seen: list[Any] = []
        self.looks = 0
        self.scored: list[str] = []
        self.score: Callable[[Any, Skill], Row] = lambda runner, skill: Row(
            skill.name, "h", "m", ()
        )
        self.cancelled = threading.Event()
        self.changed = threading.Event()
        runner = SimpleNamespace(cancel=self.cancelled.set)
        self.splits = {"val": (TASK,)}
        self.config = SimpleNamespace(seed=1)
        self.runner = lambda listener: nullcontext(runner)
        monkeypatch.setattr(watched, "prepare", self._prepare)
        monkeypatch.setattr(watched, "compare", self._compare)

        @contextmanager
        def watching(paths: list[Path], changed: threading.Event) -> Iterator[Any]:
            assert paths == [self.path] and changed.is_set(), "the first look is at once"
            changed.clear()
            self.changed = changed
            yield self._look

        monkeypatch.setattr(watched, "watching", watching)

    def _prepare(self, config: Any, **asked: Any) -> Any:
        assert asked["needs"] == ("val",)
        return self

    def _compare(self, runner: Any, skills: dict[str, Skill], tasks: Any) -> list[Row]:
        ((name, skill),) = skills.items()
        assert tasks == (TASK,) and name == "mine"
        self.scored.append(skill.body)
        return [self.score(runner, skill)]

    def _look(self) -> None:
        self.looks += 1

    def run(self, *rounds: Callable[[], object]) -> list[Any]:
        steps = iter(rounds)

        def settled(changed: threading.Event, stop: threading.Event) -> bool:
            changed.clear()
            step = next(steps, None)
            if step is not None:
                step()
            return step is not None

        self.monkeypatch.setattr(watched, "settled", settled)
        config: Any = SimpleNamespace()
        watch(self.path, config, self.seen.append, threading.Event())
        return self.seen

    def save(self, body: str) -> Callable[[], object]:
        return lambda: write_skill(Skill("mine", "Use it.", body), self.path)


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watch:
    made = Watch(monkeypatch, tmp_path)
    made.save("# One")()
    return made


def test_each_version_is_compared_with_the_one_before(watching: Watch) -> None:
    first, second, third = watching.run(
        lambda: None, watching.save("# Two"), lambda: None, watching.save("# Three")
    )
    assert [one.skill.body for one in (first, second, third)] == ["# One", "# Two", "# Three"]
    assert first.row.first is None
    assert second.row.first is not None and third.row.first is not None
    assert third.row.first.first is None, "no version has a chain of all before it"
    assert watching.scored == ["# One", "# Two", "# Three"] and watching.looks == 4


def test_a_version_that_is_broken_is_told_and_the_last_good_one_compared(watching: Watch) -> None:
    text = watching.path / "SKILL.md"
    seen = watching.run(
        lambda: None, lambda: text.write_text("---\nname: [\n---\n"), watching.save("# One"),
        watching.save("# Two"),
    )  # fmt: skip
    assert [type(one) for one in seen] == [Scored, Unscorable, Scored]
    assert "front matter is not YAML" in seen[1].message
    assert seen[2].row.first == seen[0].row


@pytest.mark.parametrize(
    "error", [PausedError("no engine"), LimitReachedError("limits.usd"), SkillError("not loaded")]
)
def test_an_evaluation_that_fails_is_told_and_tried_again(
    watching: Watch, error: Exception
) -> None:
    errors = [error]

    def failing(runner: Any, skill: Skill) -> Row:
        if errors:
            raise errors.pop()
        return Row(skill.name, "h", "m", ())

    watching.score = failing
    failed, scored = watching.run(lambda: None, lambda: None)
    assert failed == Unscorable(str(error)) and isinstance(scored, Scored)


def test_an_error_of_the_users_code_is_told_with_its_traceback(watching: Watch) -> None:
    def failing(runner: Any, skill: Skill) -> Row:
        raise OwnCodeError("verifier: your own code raised") from ValueError("my words")

    watching.score = failing
    (failed,) = watching.run(lambda: None)
    assert failed.message == "verifier: your own code raised\nValueError: my words\n"


def test_a_newer_version_cancels_the_evaluation(watching: Watch) -> None:
    def slow(runner: Any, skill: Skill) -> Row:
        if skill.body == "# One":
            watching.changed.set()
            assert watching.cancelled.wait(5)
        return Row(skill.name, "h", "m", ())

    watching.score = slow
    cut, scored = watching.run(lambda: None, watching.save("# Two"))
    assert isinstance(cut, Cancelled) and cut.skill.body == "# One"
    assert scored.skill.body == "# Two" and scored.row.first is None


def test_an_evaluation_is_waited_for(watching: Watch) -> None:
    waited = threading.Event()

    def slow(runner: Any, skill: Skill) -> Row:
        assert waited.wait(5)
        return Row(skill.name, "h", "m", ())

    watching.monkeypatch.setattr(watched.time, "sleep", lambda seconds: waited.set())
    watching.score = slow
    (scored,) = watching.run(lambda: None)
    assert isinstance(scored, Scored) and not watching.cancelled.is_set()


def test_a_skill_that_is_not_there_is_refused(watching: Watch) -> None:
    watching.path = watching.path / "none"
    with pytest.raises(SkillError, match="no such skill; name a skill folder or a Markdown file"):
        watching.run()


@pytest.mark.parametrize(("count", "found"), [(0, 0), (3, 3), (8, 8), (9, 8)])
def test_a_subset_is_in_the_order_of_the_split(count: int, found: int) -> None:
    tasks = tuple(a_task(f"t{number}") for number in range(8))
    prepared: Any = SimpleNamespace(splits={"val": tasks}, config=SimpleNamespace(seed=3))
    chosen = subset(prepared, "val", count)
    assert len(chosen) == found and list(chosen) == sorted(chosen, key=tasks.index)
    assert chosen == subset(prepared, "val", count)
    prepared.config.seed = 4
    assert count != 3 or chosen != subset(prepared, "val", count)


def config(**changes: Any) -> Config:
    target = SimpleNamespace(upstream="up", name="m:1", model_copy=lambda update: update)
    made = SimpleNamespace(
        upstreams={"up": 1, "other": 2}, target=target, model_copy=lambda update: update,
        harness=SimpleNamespace(name="codex", mount="native"),
    )  # fmt: skip
    vars(made).update(changes)
    found: Any = made
    return found


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("m:1", None), ("gpt", ("up", "gpt")), ("other:gpt", ("other", "gpt")),
        ("other:gpt:2", ("other", "gpt:2")), ("up:m:1", ("up", "m:1")),
    ],
)  # fmt: skip
def test_a_model_may_be_of_another_upstream(model: str, found: tuple[str, str] | None) -> None:
    made: Any = with_target(config(), model)
    if found is None:
        assert made.target.name == "m:1"
    else:
        assert made == {"target": {"upstream": found[0], "name": found[1]}}


def test_an_upstream_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model 'x:gpt': 'x' is not in upstreams \(other, up\)"):
        with_target(config(), "x:gpt")


def test_skills_are_scored_in_each_agent_with_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    metered: list[Any] = []
    events: list[Event] = []
    checked: list[tuple[str, str]] = []
    tasks = (a_task("a"), a_task("b"))
    prepared = SimpleNamespace(
        splits={"val": tasks}, meter=SimpleNamespace(add=metered.append), config=None,
        runner=lambda listener: nullcontext("runner"),
    )  # fmt: skip

    def compare(
        runner: Any, skills: Any, given: Any, *, harness: str, replicates: int
    ) -> list[Any]:
        compared.append((runner, [*skills], given, harness, replicates))
        return [(harness, name) for name in skills]

    def prepare(config: Any, **asked: Any) -> Any:
        assert asked["needs"] == ("val",)
        return prepared

    monkeypatch.setattr(evaluating, "prepare", prepare)
    monkeypatch.setattr(evaluating, "compare", compare)
    monkeypatch.setattr(evaluating, "replace", lambda prepared, config: prepared)
    monkeypatch.setattr(
        evaluating, "check_loaded", lambda skill, name, mount: checked.append((name, mount))
    )
    monkeypatch.setattr(evaluating, "Config", SimpleNamespace)
    skills = {"none": None, "mine": SKILL}
    rows: Any = evaluate(
        config(), skills, split="val", harnesses=("codex", "direct"), models=("gpt", "other:x"),
        replicates=3, listeners=[events.append],
    )  # fmt: skip
    assert rows == [(h, s) for _ in "ab" for h in ("codex", "direct") for s in skills]
    assert compared[0] == ("runner", ["none", "mine"], tasks, "codex", 3) and len(compared) == 4
    assert checked == [("codex", "native"), ("direct", "native")]
    whole, *stages = events
    assert whole == EvaluationStarted(2 * 3 * 2 * 2 * 2)
    named = [(one.stage, one.total) for one in stages if isinstance(one, StageStarted)]
    assert named == [("eval in codex", 12), ("eval in direct", 12)] * 2
    assert [(one.stage, one.total) for one in metered] == [("eval", 12)] * 4
    own: Any = evaluate(config(), skills, split="val")
    assert own == [("codex", "none"), ("codex", "mine")] and compared[-1][-1] == 1
    monkeypatch.setattr(evaluating, "read_skill_or_run", lambda path: SKILL)
    named_by_path: Any = evaluate(config(), ["a", Path("b")], split="val")
    assert named_by_path == [("codex", "a"), ("codex", "b")]
    assert score(prepared, skills, "val", (), events.append) == []  # type: ignore[arg-type]


def test_a_file_that_cannot_be_read_is_an_error_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(path: Any) -> Any:
        raise FileNotFoundError(2, "No such file", path)

    monkeypatch.setattr(evaluating, "read_config", missing)
    with pytest.raises(FileError, match=r"c\.yaml: No such file; check the path"):
        evaluate("c.yaml", {})


@pytest.mark.parametrize(
    ("trial", "works"),
    [
        (ModeTrial(3, 0, 3, 3), True), (ModeTrial(3, 1, 3, 3), False),
        (ModeTrial(3, 0, 2, 3), False), (ModeTrial(3, 0, 3, 2), False),
        (ModeTrial(3, 0, 2, 2), False), (ModeTrial(3, 0, 3, 3, "a screen"), False),
    ],
)  # fmt: skip
def test_a_mode_works_if_all_is_solved_with_the_skill_and_nothing_without(
    trial: ModeTrial, works: bool
) -> None:
    assert trial.works is works
    whole = AgentTrial("codex", "1", 2.5, {"batch": ModeTrial(3, 0, 3, 3), "chat": trial})
    assert whole.works is works
    said = whole.to_json()
    assert (said["version"], said["at"], said["works"]) == ("1", 2.5, works)
    assert said["modes"]["batch"] == {
        "tasks": 3, "without": 0, "solved": 3, "opened": 3, "error": "",
    }  # fmt: skip


@pytest.fixture
def remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "skillopt" / "agents.json"


def test_the_last_trial_of_each_agent_is_remembered(remembering: Path) -> None:
    assert remembered() == {}
    for agent, version in (("codex", "1"), ("opencode", "2"), ("codex", "3")):
        remember(AgentTrial(agent, version, 1.0, {}))
    assert {name: one["version"] for name, one in remembered().items()} == {
        "codex": "3", "opencode": "2",
    }  # fmt: skip
    assert json.loads(remembering.read_text())["format"] == 1


@pytest.mark.parametrize(
    "text",
    ["{", '{"format": 2, "tried": {"a": 1}}', '{"format": 1}', '{"format": 1, "tried": [1]}'],
)
def test_what_cannot_be_read_counts_as_not_tried(remembering: Path, text: str) -> None:
    remembering.parent.mkdir(parents=True)
    remembering.write_text(text)
    assert remembered() == {}


def test_an_agent_is_tried_in_each_mode_on_a_task_of_each_family(
    remembering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [a_task(f"{family}{n}", family=family) for n in range(2) for family in "dbca"]
    asked: list[Any] = []

    def trying(config: Any, skills: Any, *, listeners: Any, plugins: Any) -> list[Any]:
        asked.append((config, skills, [task.name for task in plugins.tasks["test"]]))
        if config["harness.mode"] == "interactive":
            raise PausedError("a screen that is not known")
        rewards = ((0.0, False), (1.0, True)), ((0.0, None), (0.0, None))
        return [
            SimpleNamespace(rollouts=[a_rollout(TASK, r, activated=o) for r, o in of])
            for of in reversed(rewards)
        ]

    def settings(name: str, given: dict[str, Any]) -> Any:
        assert name == "quickstart/codex"
        return _Settings(given)

    monkeypatch.setattr(agent_trial, "read_config", settings)
    monkeypatch.setattr(agent_trial, "load_splits", lambda *_: {"test": tasks})
    monkeypatch.setattr(agent_trial, "initial_skill", lambda config: SKILL)
    monkeypatch.setattr(agent_trial, "evaluate", trying)
    found = try_agent("codex", "9.9")
    assert found.modes["batch"] == ModeTrial(3, 0, 1, 1)
    assert found.modes["interactive"] == ModeTrial(3, 0, 0, 0, "a screen that is not known")
    given, skills, names = asked[0]
    assert names == ["a0", "b0", "c0"] and len(names) == TASKS
    assert (given["harness.version"], given["workers"], given["rollout_tries"]) == ("9.9", 1, 1)
    assert given["upstreams.sim.noise"] == 0.0
    assert [*skills] == ["none", "skill"] and skills["none"] is None
    assert skills["skill"].body.startswith("# One\n\n- ")
    assert all(f"- {chore.rule}" in skills["skill"].body for chore in CHORES)
    assert remembered()["codex"]["works"] is False and abs(found.at - time.time()) < 60


class _Settings(dict[str, Any]):
    tasks = split_seed = None


def draft(**values: object) -> Draft:
    usual = {
        "name": "a", "instruction": "Do it",
        "source": Source(agent="codex", session="s", turn="t"),
    }  # fmt: skip
    return Draft.model_validate({**usual, **values})


def shown(**values: object) -> dict[str, Any]:
    """What the model is shown of a draft."""
    block = prompt_for(draft(**values)).split("```")[1]
    found: dict[str, Any] = json.loads(block[block.index("{") :])
    return found


def test_a_prompt_has_the_request_and_what_came_of_it() -> None:
    half = SHOWN_CHARS // 2
    found = shown(
        instruction="x" * (half + 1), corrections=("é", "y" * (half - 1), "z"),
        files_changed=tuple(f"f{n}" for n in range(51)), accepted_then="yes",
    )  # fmt: skip
    assert found["request"] == "x" * half and found["accepted"] == "yes"
    assert found["corrections"] == ["é", "y" * (half - 1)]
    assert found["files changed"] == [f"f{n}" for n in range(50)]
    assert shown(corrections=("y" * (half + 1), "z"))["corrections"] == []
    assert str(EXPECTATIONS) in prompt_for(draft())


class Replies:
    """A model that replies, or fails, in this order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *replies: DraftReply | Exception) -> None:
        self.replies = iter(replies)
        self.own: list[Any] = []
        session = SimpleNamespace(usage=Usage(2, 20, 0, 10, 0.5))
        gateway = SimpleNamespace(open=lambda grant: nullcontext(session))
        monkeypatch.setattr(draft_writer, "open_upstream", lambda service: nullcontext(service))
        monkeypatch.setattr(draft_writer, "Gateway", lambda *_: nullcontext(gateway))
        monkeypatch.setattr(draft_writer, "ChatClient", lambda session: nullcontext(session))
        monkeypatch.setattr(draft_writer, "ask_with_repair", self._ask)
        monkeypatch.setattr(draft_writer, "raise_own_error", lambda *given: self.own.append(given))

    def _ask(self, send: Any, system: str, prompt: str, kind: Any) -> DraftReply:
        assert kind is DraftReply and "Do it" in prompt
        reply = next(self.replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def write(self, *drafts: Draft) -> tuple[list[Draft], Usage, dict[str, str]]:
        kept: list[Draft] = []
        service: Any = "service"
        prices: Any = SimpleNamespace(cost=None)
        usage, left = write_with_model(
            drafts, service, prices, ModelSpec("up", "wise"), kept.append
        )
        return kept, usage, left


def test_a_draft_has_the_models_texts_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = Trigger(skill="s", query="q", should_trigger=True)
    many = [" first ", "", *(f"{n}" + "y" * CHARS for n in range(9))]
    reply = DraftReply(instruction=f" {'x' * (CHARS + 9)} ", expectations=many, query=" q2 ")
    (one,), usage, left = Replies(monkeypatch, reply).write(draft(trigger=trigger, notes=("n",)))
    assert one.instruction == "x" * CHARS and usage.prompt_tokens == 20 and left == {}
    assert one.expectations[0] == "first" and len(one.expectations) == EXPECTATIONS
    assert one.expectations[1] == ("0" + "y" * CHARS)[:CHARS]
    assert one.trigger is not None and one.trigger.query == "q2"
    assert one.notes == ("n", "written by wise; the person's own words: Do it")
    bare = DraftReply(instruction="Do it well", expectations=[], query="q2")
    (plain,), _, _ = Replies(monkeypatch, bare).write(draft())
    assert plain.trigger is None and plain.instruction == "Do it well"
    long = DraftReply(instruction="x", expectations=[], query="z" * (CHARS + 1))
    (cut,), _, _ = Replies(monkeypatch, long).write(draft(trigger=trigger))
    assert cut.trigger is not None and cut.trigger.query == "z" * CHARS


def test_a_draft_without_a_reply_stays_and_the_next_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reply = DraftReply(instruction="Better", expectations=[], query="")
    replies = Replies(monkeypatch, ChatError("no answer"), reply)
    kept, _, left = replies.write(draft(), draft(name="b"))
    assert [one.name for one in kept] == ["b"] and left == {"a": "no answer"}
    assert [given[1] for given in replies.own] == ["up"]
