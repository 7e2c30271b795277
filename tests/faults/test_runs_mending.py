"""A run that cannot go on can be mended: what its finished part depended on must be as it was, and
everything else may change (docs/faults, runs, kind 1).

The table is that of docs/configuration.md: each key of the config is changed alone, at each point
of a run, and found allowed or refused as the table says.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import threading
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

import skillopt
from tests.helpers.cells import ALL_CELLS
from tests.helpers.small import made_once
from tests.helpers.tiny import BROKEN, ROOT, Tiny, command, refused, tiny, wants

pytestmark = pytest.mark.slow  # Whole runs.

__all__ = ["tiny"]

POINTS = {
    "in the baseline": ("stage_started", "baseline", 0),
    "after the baseline": ("baseline_done", "", 0),
    "in the rollouts of a step": ("stage_started", "rollout", 1),
    "after a reply": ("stage_started", "gate", 1),
    "at an epoch's end": ("stage_started", "gate", 4),
    "before the test": ("stage_started", "test", 0),
    "after the test": ("run_done", "", 0),
}
"""By kind, stage and step of the last record. The first epoch has steps 1 and 2."""
FIXED_FROM = {
    "the end of the baseline": 1,
    "the first step": 2,
    "the optimizer's first reply": 3,
    "the first epoch's end": 4,
    "the second epoch's end": 4,
    "the end of the run": 6,
    "never": len(POINTS),
}
"""In the words of the table, the first of the points at which another value is refused."""
OWN = '''
def rank(edits, briefing):
    """A rule more, whatever the optimizer has proposed."""
    return StageResult((Edit("append", "", f"- rule {briefing.skill.body.count('- rule')}"),))


def rank_again(edits, briefing):
    return rank(edits, briefing)


def slow(pairs, briefing):
    from dataclasses import replace
    return StageResult(replace(briefing.skill, body=briefing.skill.body + "\\n- slow"))


def slow_again(pairs, briefing):
    return slow(pairs, briefing)


def meta(pairs, decisions, briefing):
    return StageResult("notes")


def judge_again(task, workspace, answer):
    return judge(task, workspace, answer)


def enough(state, spent):
    return ""


def merge(patches, briefing, *, batch):
    raise AssertionError


def apply(edits, briefing):
    raise AssertionError


def judge_some(task, workspace, answer):
    return Reward(1.0) if task.name == "train-0" else judge(task, workspace, answer)


class Writer2(Writer):
    name = "writer-2"


class Gate:
    def __init__(self, metric, mix, **options):
        pass

    def decide(self, trial):
        raise AssertionError


class Method:
    def __init__(self, **options):
        pass

    def estimate(self, config, splits):
        raise AssertionError

    def run(self, training):
        raise AssertionError


class Backend:
    name, isolated, images = "own", True, True

    def __init__(self, **options):
        pass

    def sandbox(self, spec):
        raise AssertionError


class Executor:
    def __init__(self, setup):
        pass

    def attempt(self, job, folder):
        raise AssertionError


def tasks(config, folder, others=False):
    from skillopt import Task
    splits = {"train": "a", "val": "b", "test": "c" if others else "d"}
    return {
        split: [Task(name=f"{split}-{number}", instruction="Do it.", digest=f"{text}{number}")
                for number in range(3)]
        for split, text in splits.items()
    }


class Service:
    """A service that is never asked."""

    protocols = frozenset({"chat"})
    max_concurrency = 1

    def __init__(self, **options):
        pass

    async def send(self, call):
        raise AssertionError

    async def close(self):
        pass
'''


@dataclass(frozen=True)
class Rule:
    """A row of the table, for one key."""

    key: tuple[str, ...]
    split: str
    fixed: int
    counts: str


def rules() -> list[Rule]:
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    section = text.partition("## What may change in a run that has started")[2].partition("\n## ")[
        0
    ]
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in
            section.splitlines() if line.startswith("| `")]  # fmt: skip
    found = []
    for names, since, *counts in rows:
        split = "".join(re.findall(r"\(of `(\w+)`\)", names))
        phrase = since.partition(",")[0]
        fixed = 0 if phrase == "the start" else FIXED_FROM[phrase]
        for name in re.findall(r"`([\w.]+)`", names.partition(" (of")[0]):
            found.append(Rule(tuple(name.split(".")), split, fixed, "".join(counts)))
    return found


def rule_of(key: str, split: str) -> Rule:
    """The row with the longest beginning of a key."""
    parts = key.split(".")
    known = (
        {"t": "TARGET", "o": "OPTIMIZER"}.get(parts[1], "NAME") if parts[0] == "upstreams" else ""
    )
    fitting = [
        rule
        for rule in rules()
        if len(rule.key) <= len(parts) and rule.split == split
        if all(a == b or a in {known, "NAME"} for a, b in zip(rule.key, parts, strict=False))
    ]
    assert fitting, f"{key}: docs/configuration.md does not say from when on it must stay the same"
    return max(fitting, key=lambda rule: (len(rule.key), "NAME" not in rule.key))


# The keys of the config, and what each is changed to.

JUDGE = {"upstream": "t", "name": "sim-1"}
UNDER = {
    "judge": {"judge": JUDGE},
    "harness.mode": {"harness": {"name": "codex"}, "sandbox": {"kind": "docker"}},
    "harness.options": {"harness": {"name": "codex"}, "sandbox": {"kind": "docker"}},
    "harness.version": {"harness": {"name": "codex"}, "sandbox": {"kind": "docker"}},
    "gate.options": {"gate": {"kind": "own:Gate"}},
    "method.options": {"method": {"kind": "own:Method"}},
    "tasks.options": {"tasks": {"source": "own:tasks"}},
    "sandbox.options": {"sandbox": {"kind": "own:Backend"}},
    "train.candidates_by": {"train": {"candidates": 2}},
}
"""By the beginning of a key, with what else in the config it has a meaning."""


@dataclass(frozen=True)
class Change:
    """A value for one key.

    Args:
        value: in place of that of the config.
        same: whether what it leads to is as before.
        split: of the tasks, the one that it changes.
        under: other settings that it has a meaning with.
    """

    value: Any
    same: bool = False
    split: str = ""
    under: Mapping[str, Any] | None = None


CHANGES: dict[str, list[Change]] = {
    "skill.init": [Change("elsewhere/my-skill", same=True), Change("other/my-skill")],
    "skill.name": [Change("your-skill", same=True), Change("other", under={"skill": {
        "init": "empty", "name": "my-skill", "description": "Use it."}})],
    "skill.description": [Change("Something.", same=True), Change("Other.", under={"skill": {
        "init": "empty", "name": "my-skill", "description": "Use it."}})],
    "skill.beside": [Change(["beside/second"]), Change(["elsewhere/first"], same=True)],
    "tasks.source": [Change("moved", same=True, split="val")],
    "tasks.path": [Change("elsewhere", same=True, split="val")],
    "tasks.exclude": [Change(["val-0"], split="val"), Change(["train-0"], split="train"),
                      Change(["test-0"], split="test")],
    "tasks.seed": [Change(8, same=True, split="val")],
    "tasks.split": [Change([1, 1, 1], same=True, split="val")],
    "tasks.split_seed": [Change(3, same=True, split="val")],
    # Its tasks have environments of their own, and none asks which skills are opened.
    "tasks.environment": [Change("debian:bookworm", same=True, split="val",
                                 under={"sandbox": {"kind": "docker"}})],
    "triggers.calls": [Change(4, same=True)],
    "judge.upstream": [Change("same", same=True), Change("u")],
    "judge.name": [Change("sim-2")],
    "judge.prompt": [Change("judge.md")],
    "judge.timeout_s": [Change(9.0)],
    "judge.labels": [Change("labels.csv", under={"judge": {**JUDGE, "least_agreement": None}})],
    "harness.name": [Change("own:Writer2")],
    "harness.version": [Change("0.1.2")],
    "harness.options.effort": [Change("low")],
    "harness.options.allowed_tools": [Change(["shell"])],
    "harness.options.mcp_servers": [Change({"a": {"command": "b"}})],
    "harness.options.flags": [Change(["--disable", "goals"])],
    "harness.options.settings": [Change({"model_verbosity": "low"})],
    "sandbox.kind": [Change("docker")],
    "sandbox.network": [Change("registries")],
    "sandbox.verifier_network": [Change(["pypi.org"])],
    "target.upstream": [Change("same", same=True), Change("o")],
    "target.name": [Change("sim-2")],
    "optimizer.upstream": [Change("same-o", same=True), Change("t")],
    "optimizer.name": [Change("sim-2")],
    "optimizer.harness": [Change("codex", under={"sandbox": {"kind": "docker"}})],
    "optimizer.prompts": [Change("moved-prompts", same=True), Change("other-prompts")],
    "verifier": [Change("own:judge_again")],
    "prices": [Change("other-prices.yaml")],
    "notify": [Change("true")],
    "limits.stages": [Change({"gate": {"rollouts": 900}})],
    "limits.plan_share": [Change(0.5, under={
        "upstreams": {"p": {"kind": "openai", "login": "chatgpt"}},
        "judge": {"upstream": "p", "name": "m"}})],
    "stop": [Change([{"kind": "no_accept", "steps": 50}]),
             Change([{"kind": "custom", "path": "own:enough"}])],
    "train.stages.slow": [Change("own:slow_again")],
    "train.stages.meta": [Change("own:meta")],
    "train.stages.reflect": [Change("own:reflect")],
    "train.stages.merge": [Change("own:merge")],
    "train.stages.rank": [Change("own:rank_again")],
    "train.stages.apply": [Change("own:apply")],
    "train.learning_rate.start": [Change(5)],
    "final.arms": [Change(["draft"])],
    "transfer.skills": [Change(["my-skill"])],
    "transfer.to": [Change(["direct"])],
    "gate.kind": [Change("own:Gate")],
    "method.kind": [Change("own:Method")],
    "executor.kind": [Change("own:Executor")],
}  # fmt: skip


UPSTREAMS: dict[str, dict[str, Any]] = {
    "SimConfig": {"kind": "sim"},
    "HttpConfig": {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"},
    "LlamaConfig": {"kind": "llamacpp"},
    "OwnUpstreamConfig": {"kind": "own:Service"},
}
"""By the class of its settings, an upstream of each kind."""
OF_UPSTREAMS: dict[str, Any] = {
    "base_url": "http://127.0.0.1:10", "key_env": "OTHER", "protocols": ["messages"],
    "api_version": "2025-04-01-preview", "model": "other.gguf", "template": "{{ messages }}",
    "login": "chatgpt",
}  # fmt: skip
PLAN = {"kind": "openai"}
AZURE = {"kind": "azure-openai", "base_url": "http://127.0.0.1:9", "api_version": "2024-10-21"}


def config_model() -> type[BaseModel]:
    """The class of configs, by way of a public function's annotations."""
    union = typing.get_type_hints(skillopt.train)["config"]
    return next(part for part in get_args(union) if issubclass(part, BaseModel))


def models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a value may be."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def leaves(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every key of the config with its type and its default."""
    for name, field in model.model_fields.items():
        key, kind = f"{above}{name}", field.annotation
        if key == "train.stages":
            for stage in get_args(get_args(kind)[0]):
                yield f"{key}.{stage}", str, None
        elif key != "upstreams" and key != "stop" and models(kind) and get_origin(kind) is not dict:
            yield from leaves(models(kind)[0], f"{key}.")
        elif key != "upstreams":
            yield key, kind, field.get_default(call_default_factory=True)


def upstream_changes() -> Iterator[tuple[str, Change]]:
    """Every setting of every kind of upstream: of the target's, the optimizer's, and another."""
    found = models(config_model().model_fields["upstreams"].annotation)
    assert {kind.__name__ for kind in found} <= set(UPSTREAMS), "give an upstream of each kind"
    for kind in found:
        for name, field in kind.model_fields.items():
            for role in ("t", "o", "u") if kind.__name__ == "SimConfig" else ("t",):
                usual = {"api_version": AZURE, "login": PLAN}.get(name, UPSTREAMS[kind.__name__])
                key, default = f"upstreams.{role}.{name}", usual.get(name, field.get_default())
                if name == "kind":
                    continue  # Another kind has other settings.
                if name == "options":
                    value: Any = {"a": 1}
                else:
                    value = OF_UPSTREAMS.get(name) or derived(field.annotation, default)
                yield key, Change(value, under={"upstreams": {role: dict(usual)}})


NOTHING = object()
"""For a key of which nobody has said what it can be changed to."""


def derived(kind: Any, default: Any) -> Any:
    """Another value of a type."""
    parts = [part for part in (get_args(kind) or (kind,)) if part is not type(None)]
    if get_origin(kind) is Annotated:
        parts = [get_args(kind)[0]]
    options: list[Any] = []
    if get_origin(kind) is Literal:
        options = list(get_args(kind))
    elif parts == [bool]:
        options = [True, False]
    elif parts == [int]:
        options = [(default or 899) + 1]
    elif parts == [float]:
        options = [0.25, 0.75]
    found = [value for value in options if value != default]
    return found[0] if found else NOTHING


def all_changes() -> Iterator[tuple[str, Change]]:
    """Each key of the config with each of its other values."""
    for key, kind, default in leaves(config_model()):
        if key in ("name", "runs"):
            continue
        under = next((more for begin, more in UNDER.items() if key.startswith(begin)), None)
        if key in CHANGES:
            for change in CHANGES[key]:
                yield key, Change(change.value, change.same, change.split, change.under or under)
        elif key == "tasks.options":
            yield key, Change({"others": True}, split="test", under=under)
        elif key == "trackers":
            yield key, Change(["opentelemetry"])
        elif key.endswith(".options") or key.endswith(".sampling"):
            yield key, Change({"temperature": 1}, under=under)
        elif key == "transfer.splits":
            yield key, Change(["val"])
        else:
            set_here: Any = BASE
            for part in key.split("."):
                set_here = set_here.get(part) if isinstance(set_here, dict) else None
            value = derived(kind, default if set_here is None else set_here)
            yield key, Change(value, under=under)
    yield from upstream_changes()


BASE: dict[str, Any] = {
    "skill": {"init": "my-skill", "beside": ["beside/first"]},
    "prices": "prices.yaml",
    "target": {"upstream": "t", "name": "sim-1"},
    "optimizer": {"upstream": "o", "name": "sim-1", "prompts": "prompts"},
    "upstreams": {
        "t": {"kind": "sim"}, "same": {"kind": "sim"},
        "o": {"kind": "sim", "seed": 1}, "same-o": {"kind": "sim", "seed": 1},
        "u": {"kind": "sim", "seed": 2},
    },
    "train": {
        "epochs": 2, "batch_size": 2, "slow_update": True, "meta_skill": True,
        "stages": {"rank": "own:rank", "slow": "own:slow"},
    },
}  # fmt: skip
"""What the config has besides that of every test here."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others on top; an upstream is replaced as a whole."""
    found = dict(below)
    for key, value in above.items():
        whole = not isinstance(value, dict) or "kind" in value or "source" in value
        known = found.get(key)
        found[key] = value if whole or not isinstance(known, dict) else merged(known, value)
    return found


def with_value(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    inner = settings.get(first, {})
    return {**settings, first: with_value(inner, rest, value) if rest else value}


class Points:
    """The event log of a training at each of the points, and what a start there says."""

    def __init__(self, at: Tiny) -> None:
        self.tiny = at
        self.logs: dict[str, list[str]] = {}
        self.created: dict[str, str] = {}
        self._prepare()

        def keep(event: Any) -> None:
            for point, (kind, stage, step) in POINTS.items():
                found = (event.kind, getattr(event, "stage", ""), getattr(event, "step", 0))
                if getattr(event, "kind", "") and found == (kind, stage, step):
                    log = (at.run / "events.jsonl").read_text().splitlines(keepends=True)
                    self.logs[point] = log

        result = skillopt.train(at.config, listeners=[lambda e: hasattr(e, "kind") and keep(e)])
        assert result.done and list(self.logs) == list(POINTS)
        assert '"kind":"replied"' not in "".join(self.logs["in the rollouts of a step"])
        assert '"kind":"replied"' in "".join(self.logs["after a reply"])

    def _prepare(self) -> None:
        at = self.tiny
        at.own(OWN)
        at.task("val", "val-9", wants(9))  # No skill solves it, so that each step is judged.
        for name in ("first", "second"):
            text = f"---\nname: {name}\ndescription: Use it.\n---\n"
            at.put(f"beside/{name}/SKILL.md", text)
            at.put(f"elsewhere/{name}/SKILL.md", text)
        shutil.copytree("my-skill", "elsewhere/my-skill")
        shutil.copytree("my-skill", "other/my-skill")
        at.put("other/my-skill/more.md", "More.")
        shutil.copytree("tasks", "moved")
        for name, text in (("prompts", "a"), ("moved-prompts", "a"), ("other-prompts", "b")):
            at.put(f"{name}/context.md", f"{text}\n")
        at.put("judge.md", "Judge:\n{{ evidence }}\n{{ expectations }}\n")
        at.put("labels.csv", "rollout,expectation,verdict\nabc,1,met\n")
        for name, price in (("prices", 1.0), ("other-prices", 2.0)):
            each = dict.fromkeys(("prompt", "cached", "completion"), price)
            table = {"date": "2026-01-01", "models": {"*": each}}
            at.put(f"{name}.yaml", yaml.safe_dump(table))
        at.settings = merged(at.settings, BASE)
        at.settings["train"] = BASE["train"]
        at.write()

    def allows(self, point: str, key: str, change: Change) -> bool:
        """Whether a run that was ended at a point can be started with another value."""
        settings = merged(self.tiny.settings, change.under or {})
        log = self.logs[point]
        if change.under:
            log = [self._created(settings), *log[1:]]
        (self.tiny.run / "events.jsonl").write_text("".join(log))
        return self._starts(with_value(settings, key, change.value))

    def _created(self, settings: dict[str, Any]) -> str:
        """The first record of a run with these settings."""
        known = json.dumps(settings)
        if known not in self.created:
            shutil.rmtree("runs/fresh", ignore_errors=True)
            assert self._starts({**settings, "name": "fresh"})
            line = Path("runs/fresh/events.jsonl").read_text().splitlines(keepends=True)[0]
            self.created[known] = line
        return self.created[known]

    def _starts(self, settings: dict[str, Any]) -> bool:
        file = self.tiny.put("changed.yaml", yaml.safe_dump(settings))

        def interrupt(event: Any) -> None:
            if getattr(event, "kind", "") in ("run_created", "run_changed", "run_started"):
                raise KeyboardInterrupt

        try:
            skillopt.train(file, listeners=[interrupt])
        except KeyboardInterrupt:
            return True
        except Exception as error:
            if type(error).__name__ == "FingerprintError":
                return False
            raise
        return True


@pytest.fixture
def points(tiny: Tiny) -> Points:
    return Points(tiny)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS if ALL_CELLS else [*POINTS][1::2])
def test_each_key_is_allowed_or_refused_as_the_table_says(points: Points, point: str) -> None:
    wrong = []
    for key, change in all_changes():
        if change.value is NOTHING:
            wrong.append(f"{key}: say in CHANGES what it can be changed to")
            continue
        rule = rule_of(key, change.split)
        expected = change.same or list(POINTS).index(point) < rule.fixed
        try:
            allowed = points.allows(point, key, change)
        except Exception as error:  # noqa: BLE001  # Collected with the others.
            wrong.append(f"{key}: {change}: {type(error).__name__}: {error}")
        else:
            if allowed != expected:
                wrong.append(f"{key}: {change}: the table {'allows' if expected else 'refuses'} it")
    assert wrong == []


# The same through the command line.


def done_but_for_a_broken_test_task(at: Tiny) -> list[dict[str, Any]]:
    """A training whose last verifier is broken; its history."""
    at.task("test", "test-1", BROKEN)
    at.write(verifier=None, train__stages={"rank": "own:rank"})
    at.own(OWN)

    def make(folder: Path) -> None:
        refused(at.train(), "test-1", code=3)
        shutil.copytree("runs", folder)

    made = made_once("done-but-for-a-broken-test-task", make)
    if not at.run.exists():
        shutil.copytree(made, "runs")
    assert at.summary["steps"] == 2 and not at.summary["done"]
    return history(at.run)


def history(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "history.json").read_text())
    return found


def repair(at: Tiny) -> list[str]:
    at.task("test", "test-1", wants(1))
    return []


def leave_out(at: Tiny) -> list[str]:
    return ["--set", "tasks.exclude=[test-1]"]


def do_not_test(at: Tiny) -> list[str]:
    return ["--set", "final.test=false"]


def repair_elsewhere(at: Tiny) -> list[str]:
    repair(at)
    shutil.move("tasks", "moved")
    return ["--set", "tasks.source=moved"]


def change_much_besides(at: Tiny) -> list[str]:
    """What is still to come, or decides nothing."""
    repair(at)
    at.write(
        upstreams__another={"kind": "sim", "seed": 3},
        transfer={"skills": ["runs/tiny"], "to": ["direct:another:sim-2"]},
        stop=[{"kind": "no_accept", "steps": 5}, {"kind": "custom", "path": "own:enough"}],
        workers=1,
        limits={"rollouts": 900},
        trackers=["opentelemetry"],
    )
    return ["--set", "prices=prices.yaml"]


MENDINGS: dict[Callable[[Tiny], list[str]], str] = {
    repair: "tasks.test.test-1",
    leave_out: "tasks.test.test-1",
    do_not_test: "final.test",
    repair_elsewhere: "config.tasks.source",
    change_much_besides: "config.stop",
}


@pytest.mark.slow
@pytest.mark.parametrize("mend", MENDINGS, ids=lambda mend: mend.__name__)
def test_a_broken_test_task_that_is_found_at_the_end(
    tiny: Tiny, mend: Callable[[Tiny], list[str]]
) -> None:
    each = dict.fromkeys(("prompt", "cached", "completion"), 1.0)
    tiny.put("prices.yaml", yaml.safe_dump({"date": "2026-01-01", "models": {"*": each}}))
    before = done_but_for_a_broken_test_task(tiny)
    ran = len(tiny.events("rollout_ran"))
    done = tiny.train(*mend(tiny))
    assert done.returncode == 0, done.stderr
    assert history(tiny.run) == before
    assert {record["stage"] for record in tiny.events("rollout_ran")[ran:]} <= {"test"}
    (changed,) = tiny.events("run_changed")
    assert MENDINGS[mend] in changed["changes"]
    assert MENDINGS[mend] in command("show", "runs/tiny", "--json").stdout, "and it is told"
    again = tiny.train(*mend(tiny) if mend is not repair_elsewhere else done.args[2:])
    assert again.returncode == 0 and len(tiny.events("run_changed")) == 1


def test_what_the_finished_part_depended_on_is_refused_with_a_list(tiny: Tiny) -> None:
    done_but_for_a_broken_test_task(tiny)
    tiny.task("val", "val-0", wants(0) + "# changed\n")
    done = tiny.train("--set", "gate.metric=soft", "--set", "workers=1")
    refused(done, "tasks.val.val-0", "gate.metric: hard -> soft", "--fork")
    assert "workers" not in done.stderr and not tiny.events("run_changed")


def test_a_fork_takes_the_replies_along(tiny: Tiny) -> None:
    """Rollouts are in the store, and what the optimizer said is in the log: nothing is paid
    again, and the same comes of it."""
    before = done_but_for_a_broken_test_task(tiny)
    tokens = tiny.summary["spent"]["tokens"]
    assert tokens > 0
    repair(tiny)
    done = tiny.train("--fork", "again", "--json")
    assert done.returncode == 0, done.stderr
    spent = json.loads(done.stdout)["spent"]
    assert spent["tokens"] == 0 and spent["rollouts"] == spent["stages"]["test"]["rollouts"]
    forked = history(Path("runs/again"))
    for row in (*before, *forked):
        row.pop("seconds")
    assert forked == before
    third = tiny.train("--fork", "third", "--json", "--set", "name=again")
    assert json.loads(third.stdout)["spent"]["tokens"] == 0, "also of a fork"


def test_another_name_is_another_run_and_a_moved_folder_is_the_same(tiny: Tiny) -> None:
    assert tiny.train("--set", "limits.rollouts=5").returncode == 4
    assert tiny.train("--set", "name=other").returncode == 0
    shutil.copytree("runs", "elsewhere")
    done = tiny.train("--set", "runs=elsewhere")
    assert done.returncode == 0, done.stderr
    assert tiny.events("run_changed", Path("elsewhere/tiny"))


def test_a_draft_depends_on_more(tiny: Tiny) -> None:
    tiny.own(OWN)
    tiny.write(
        skill={"init": "draft", "name": "my-skill", "description": "Use it."},
        train__stages={"rank": "own:rank"},
    )

    def interrupt(event: Any) -> None:
        if getattr(event, "kind", "") == "baseline_done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        skillopt.train(tiny.config, listeners=[interrupt])
    for setting in ("seed=1", "optimizer.name=sim-2", "tasks.exclude=[train-0]",
                    "skill.description=Other."):  # fmt: skip
        refused(tiny.train("--set", setting), setting.partition("=")[0].partition(".")[0])
    assert tiny.train("--set", "train.batch_size=1").returncode == 0


@pytest.mark.slow
def test_a_limit_that_is_raised_again_and_again_leaves_no_trace(tiny: Tiny) -> None:
    assert tiny.train("--set", "name=whole").returncode == 0
    shutil.rmtree("runs/store")
    for limit in (2, 5, 8, 11):
        assert tiny.train("--set", f"limits.rollouts={limit}").returncode == 4
    assert tiny.train().returncode == 0
    whole, cut = history(Path("runs/whole")), history(tiny.run)
    for row in (*whole, *cut):
        row.pop("seconds")
    assert cut == whole and len(tiny.events("run_stopped")) == 4


# An optimizer's service that says no to one prompt, always.


@dataclass
class Service:
    """A model service of the test's own.

    Attributes:
        refuses: names of the schemas whose prompts it refuses.
        asked: the names of those that it was asked for.
    """

    url: str
    refuses: set[str]
    asked: list[str]


def instance(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:
    """The least that fits a JSON schema."""
    if "$ref" in schema:
        return instance(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if schema.get("type") == "object":
        return {key: instance(inner, whole) for key, inner in schema["properties"].items()}
    return {"array": [], "integer": 1, "number": 1.0, "boolean": True}.get(schema["type"], "words")


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            wanted = body["response_format"]["json_schema"]
            found.asked.append(wanted["name"])
            said = json.dumps(instance(wanted["schema"], wanted["schema"]))
            message = {"role": "assistant", "content": said}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
            answer: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1}
            answer |= {"model": "m", "choices": [choice], "usage": usage}
            status = 200
            if wanted["name"] in found.refuses:
                status, answer = 400, {"error": {"message": "the context is full", "type": "x"}}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Service(f"http://127.0.0.1:{server.server_port}", set(), [])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


REFUSED = {"Guidance": "slow", "Notes": "meta", "FailureReflection": "reflect"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_prompt_that_is_always_refused(tiny: Tiny, service: Service, name: str) -> None:
    """It is passed over, told, and never asked again."""
    service.refuses.add(name)
    tiny.own(OWN)
    tiny.write(
        upstreams__service={"kind": "openai-compatible", "base_url": service.url},
        optimizer={"upstream": "service", "name": "m"},
        verifier="own:judge_some",  # So that there are failures and successes.
        train__slow_update=True,
        train__meta_skill=True,
        train__stages={"rank": "own:rank"},
        train__minibatch=1,
    )
    done = tiny.train()
    assert done.returncode == 0, done.stderr
    assert name in service.asked and "the context is full" in done.stderr
    assert "the context is full" in command("show", "runs/tiny", "--json").stdout
    before = history(tiny.run)
    told = [error for row in before for error in (*row["optimizer_errors"],
            *row.get("epoch_end", {}).get("optimizer_errors", []))]  # fmt: skip
    assert any(error.startswith(REFUSED[name]) for error in told)


@pytest.mark.slow
def test_a_refused_prompt_stays_refused_when_the_run_is_resumed(
    tiny: Tiny, service: Service
) -> None:
    service.refuses.add("Guidance")
    tiny.own(OWN)
    tiny.task("test", "test-1", BROKEN)
    tiny.write(
        verifier=None,
        upstreams__service={"kind": "openai-compatible", "base_url": service.url},
        optimizer={"upstream": "service", "name": "m"},
        train__slow_update=True,
        train__stages={"rank": "own:rank"},
    )
    refused(tiny.train(), "test-1", code=3)
    service.asked.clear()
    repair(tiny)
    assert tiny.train().returncode == 0
    assert service.asked == []


def test_a_service_that_refuses_everything_stops_the_run(tiny: Tiny, service: Service) -> None:
    """That is a wrong set-up, and mended it is asked again."""
    service.refuses |= {"FailureReflection", "SuccessReflection"}
    tiny.own(OWN)
    tiny.write(
        upstreams__service={"kind": "openai-compatible", "base_url": service.url},
        optimizer={"upstream": "service", "name": "m"},
        train__stages={"rank": "own:rank"},
    )
    refused(tiny.train(), "step 1: ", "the context is full", code=3)
    service.refuses.clear()
    service.asked.clear()
    done = tiny.train("--set", "optimizer.name=n")
    assert done.returncode == 0, done.stderr
    assert "FailureReflection" in service.asked
