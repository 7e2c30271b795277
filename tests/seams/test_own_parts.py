"""Every seam takes a part from outside: a package in a folder of its own, named in a config, used
by the command in a real run, and seen in its history, its report and its fingerprint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from skillopt.core.packed import open_file
from tests.helpers.command_line import skillopt
from tests.helpers.small import small_set

PARTS = {
    "gate.py": '''
from skillopt.core.types import GateDecision

class NotWorse:
    """Accepts what is not worse, measured twice."""
    version = "3"

    def __init__(self, metric, mix, margin=0.0):
        self.margin = margin

    def decide(self, trial):
        tasks = list(trial.tasks)
        rollouts = [r for n in range(2) for r in trial.measure("candidate", tasks, n)]
        again = trial.measure("current", tasks, 1)
        before = sum(r.reward.hard for r in again) / len(again)
        after = sum(r.reward.hard for r in rollouts) / len(rollouts)
        accepted = after + self.margin >= before
        return GateDecision(
            accepted=accepted, score_before=before, score_after=after, upper_bound=after,
            total=len(tasks), reason=f"own gate: {after:.2f} against {before:.2f}",
            rollouts=tuple(r.row for r in rollouts), remeasured=tuple(r.row for r in again),
        )
''',
    "method.py": '''
from dataclasses import replace
from skillopt.core.types import Edit
from skillopt.training.method import Estimate
from skillopt.training.proposal import Proposal
from skillopt.training.steps import StepPlan

class Rules:
    """Proposes one given rule a step."""

    def __init__(self, rules):
        self.rules = rules

    def estimate(self, config, splits):
        return Estimate(steps=len(self.rules), rollouts=(("rollout", len(splits["train"])),))

    def run(self, training):
        for number, rule in enumerate(self.rules, start=1):
            if number <= training.state.steps:
                continue
            tasks = training.splits["train"]
            plan = StepPlan(epoch=1, step=number, budget=1, parts=(tasks,), ends_epoch=False)
            asking = training.asking(f"own/{number}", training.current, plan)
            rollouts = training.batch(plan, 1, asking.clock)
            skill = training.current
            candidate = replace(skill, body=skill.body + "\\n- " + rule)
            edit = Edit("append", content="- " + rule, reason="it is mine")
            training.step(plan, rollouts, Proposal(candidate, (edit,)), asking)
        return "no rules are left"
''',
    "executor.py": """
from pathlib import Path
from skillopt.rollouts.executors import LocalExecutor

class Counting(LocalExecutor):
    def __init__(self, setup):
        super().__init__(setup)
        self.log = Path(setup.config.executor.options["log"])

    def attempt(self, job, folder):
        with self.log.open("a") as log:
            log.write(job.task.name + "\\n")
        return super().attempt(job, folder)
""",
    "tasks.py": '''
import hashlib
from skillopt import Reward, Task

def source(config, folder, count):
    """Tasks without files: what the agent is to write is known here alone."""
    def task(split, number):
        name = f"{split}-{number}"

        def start(workspace):
            (workspace / "given.csv").write_text(f"id,amount\\n1,{number}\\n")

        def judge(task, workspace, answer, rollout):
            assert (rollout / "trajectory.json").is_file()
            done = (workspace / "seen.txt").is_file()
            return Reward(1.0 if done else 0.0, {}, "" if done else "no seen.txt")

        return Task(
            name=name, instruction="Look at given.csv.", family="own",
            digest=hashlib.sha256(name.encode()).hexdigest(), workspace=start, verify=judge,
        )
    splits = {"train": count, "val": count, "test": 1}
    return {split: [task(split, n) for n in range(many)] for split, many in splits.items()}
''',
    "backend.py": '''
from sandboxes import LocalBackend

class Counting(LocalBackend):
    """Local processes, each sandbox counted."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def sandbox(self, spec):
        with open(self.log, "a") as log:
            log.write(f"{spec.workdir}\\n")
        return super().sandbox(spec)
''',
    "game.py": '''
import hashlib
import json
from pathlib import Path
from skillopt import Reward, Task

class Door:
    """Opens when it is asked to twice."""

    def __init__(self, folder):
        self.file, self.asked, self.closed = folder / "door.json", 0, 0

    def reply(self, message):
        self.asked += message.get("do") == "open"
        return {"open": self.asked > 1}

    def close(self):
        self.closed += 1
        self.file.write_text(json.dumps({"asked": self.asked, "closed": self.closed}))

def source(config, folder):
    def judge(task, workspace, answer, rollout):
        told = json.loads((rollout / "door.json").read_text())
        assert told["closed"] == 1
        return Reward(1.0 if told["asked"] > 1 else 0.0, {}, f"asked {told['asked']} times")

    def task(split):
        return Task(name=f"{split}-door", instruction="Open the door.",
                    digest=hashlib.sha256(split.encode()).hexdigest(),
                    workspace=lambda folder: None, verify=judge, companion=Door)

    return {split: [task(split)] for split in ("train", "val", "test")}
''',
    "player.py": '''
import json
from dataclasses import dataclass
from harnesses.protocols.base import Reply, ToolCall
from harnesses.protocols.registry import CODECS
from harnesses import Answer

ASK = """python3 - <<'END'
import os, urllib.request as u
for _ in range(2):
    r = u.Request(os.environ["SKILLOPT_COMPANION_URL"], b'{"do": "open"}',
        {"authorization": "Bearer " + os.environ["SKILLOPT_COMPANION_TOKEN"]})
    print(u.urlopen(r).read().decode())
END"""

@dataclass(frozen=True)
class Player:
    """Asks the companion twice by the agent's shell, and says what it heard."""

    protocols: frozenset = frozenset({"responses", "chat", "messages"})
    max_concurrency: int = 4

    async def send(self, call):
        codec = CODECS[call.protocol]
        shown = codec.read_request(call.body)
        results = [r.text for m in shown.messages for r in m.results]
        if results:
            reply = Reply(results[0])
        else:
            ask = ToolCall("c1", shown.tools[0].name, {"command": ASK})
            reply = Reply("", (ask,), stop="tool_calls")
        if shown.stream:
            parts = list(codec.write_stream(reply, shown.model, "1"))
            return Answer(200, "text/event-stream", chunks(parts))
        body = json.dumps(codec.write_response(reply, shown.model, "1")).encode()
        return Answer(200, "application/json", chunks([body]))

    async def close(self):
        pass

async def chunks(parts):
    for part in parts:
        yield part
''',
    "upstream.py": """
from skillopt.sim.model import SimUpstream

class Mine(SimUpstream):
    def __init__(self, noise):
        super().__init__(noise=noise, harm=0.0)
""",
}


def config_of(folder: Path, **sections: Any) -> Path:
    """A config like the quickstart's in direct chat, with own parts from the package ``parts``."""
    package = folder / "lib" / "parts"
    if not package.is_dir():
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        for name, text in PARTS.items():
            (package / name).write_text(text)
        small_set(folder)
    settings: dict[str, Any] = {
        "name": "own",
        "runs": str(folder / "runs"),
        "workers": 2,
        "tasks": {"source": str(folder / "small")},
        "skill": {"init": "quickstart"},
        "harness": {"name": "direct"},
        "sandbox": {"kind": "local"},
        "target": {"upstream": "sim", "name": "sim-1"},
        "optimizer": {"upstream": "sim", "name": "sim-1"},
        "upstreams": {"sim": {"kind": "sim", "harm": 0.0}},
        "train": {"epochs": 1, "batch_size": 2, "slow_update": False, "meta_skill": False},
    }
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump(settings | sections, sort_keys=False))
    return file


def run(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, which finds this test's package, as with PYTHONPATH, and no other's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder / "lib")
        for name in [name for name in sys.modules if name.partition(".")[0] == "parts"]:
            patched.delitem(sys.modules, name)
        return skillopt(*words)


def trained(folder: Path, **sections: Any) -> dict[str, Any]:
    """Plan, train and report a config; what is known of the run afterwards."""
    config = config_of(folder, **sections)
    plan = run(folder, "train", config, "--dry-run", "--json")
    assert plan.returncode == 0, plan.stderr
    done = run(folder, "train", config, "--json")
    assert done.returncode == 0, done.stderr
    root = folder / "runs" / "own"
    report = run(folder, "report", root)
    assert report.returncode == 0, report.stderr
    created = json.loads((root / "events.jsonl").read_text().splitlines()[0])
    return {
        "plan": json.loads(plan.stdout),
        "summary": json.loads(done.stdout),
        "history": json.loads((root / "history.json").read_text()),
        "fingerprint": created["fingerprint"],
        "report": (root / "report.html").read_text(),
        "config": config,
    }


def refused(folder: Path, known: dict[str, Any], setting: str) -> str:
    """What is said if the same run is started with another setting; the run is made unfinished."""
    log = folder / "runs" / "own" / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"kind":"run_done"' not in line))
    done = run(folder, "train", known["config"], "--set", setting)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_gate(tmp_path: Path) -> None:
    found = trained(tmp_path, gate={"kind": "parts.gate:NotWorse", "options": {"margin": 0.1}})
    (row,) = found["history"]
    assert row["gate"].startswith("own gate: ") and row["gate"] in found["report"]
    assert row["action"] == "accept" and row["selection_evaluated"] == 2
    assert found["fingerprint"]["gate.kind"] == "parts.gate:NotWorse"
    assert found["fingerprint"]["gate.options.margin"] == 0.1
    said = refused(tmp_path, found, "gate.options.margin=0.2")
    assert "gate.options.margin: 0.1 -> 0.2" in said


@pytest.mark.slow
def test_a_method(tmp_path: Path) -> None:
    rules = ["When matching ids between files, ignore leading zeros and letter case.", "Be brief."]
    method = {"kind": "parts.method:Rules", "options": {"rules": rules}}
    found = trained(tmp_path, method=method)
    assert found["plan"]["steps"] == 2
    assert found["summary"]["stopped"] == "no rules are left"
    assert [row["action"] for row in found["history"]] == ["accept", "reject"]
    assert found["summary"]["best_score"] > found["summary"]["initial_score"]
    assert "it is mine" in found["report"]
    assert found["fingerprint"]["method.kind"] == "parts.method:Rules"
    said = refused(tmp_path, found, "method.options.rules=[Be brief.]")
    assert "method.options.rules" in said


@pytest.mark.slow
def test_an_executor(tmp_path: Path) -> None:
    log = tmp_path / "attempts.txt"
    executor = {"kind": "parts.executor:Counting", "options": {"log": str(log)}}
    found = trained(tmp_path, executor=executor)
    attempts = log.read_text().splitlines()
    assert len(attempts) == found["summary"]["spent"]["rollouts"] > 4
    # Where a rollout ran does not decide its result: another executor may resume the run.
    assert not [key for key in found["fingerprint"] if key.startswith("executor")]
    assert run(tmp_path, "train", found["config"], "--set", "executor.kind=local").returncode == 0


def test_a_task_source(tmp_path: Path) -> None:
    tasks = {"source": "parts.tasks:source", "options": {"count": 3}, "exclude": ["train-1"]}
    found = trained(tmp_path, tasks=tasks)
    assert found["plan"]["tasks"] == {"train": 2, "val": 3, "test": 1}
    assert found["summary"]["initial_score"] == 0.0
    assert [key for key in found["fingerprint"] if key.startswith("tasks.val.")] == [
        "tasks.val.val-0", "tasks.val.val-1", "tasks.val.val-2",
    ]  # fmt: skip
    assert (
        "val-2" in found["report"]
        and "no seen.txt"
        in (tmp_path / "runs" / "own" / "steps" / "step_0001" / "rollouts.json").read_text()
    )
    said = refused(tmp_path, found, "tasks.options.count=4")
    assert "tasks.val.val-3: (none) -> " in said


@pytest.mark.slow
def test_an_upstream(tmp_path: Path) -> None:
    upstreams = {"sim": {"kind": "parts.upstream:Mine", "options": {"noise": 0.0}}}
    found = trained(tmp_path, upstreams=upstreams)
    assert found["summary"]["best_score"] > found["summary"]["initial_score"]
    assert found["fingerprint"]["target.service.kind"] == "parts.upstream:Mine"
    said = refused(tmp_path, found, "upstreams.sim.options.noise=0.5")
    assert "target.service.options.noise: 0.0 -> 0.5" in said


@pytest.mark.slow
def test_a_sandbox_backend(tmp_path: Path) -> None:
    log = tmp_path / "sandboxes.txt"
    sandbox = {"kind": "parts.backend:Counting", "options": {"log": str(log)}}
    found = trained(tmp_path, sandbox=sandbox)
    assert len(log.read_text().splitlines()) > 2 * found["summary"]["spent"]["rollouts"] - 2
    assert found["fingerprint"]["sandbox.kind"] == "parts.backend:Counting"
    said = refused(tmp_path, found, "sandbox={kind: local}")
    assert "sandbox.kind: parts.backend:Counting -> local" in said


@pytest.mark.slow
def test_a_companion_of_a_task(tmp_path: Path) -> None:
    upstreams = {"sim": {"kind": "sim"}, "player": {"kind": "parts.player:Player"}}
    found = trained(
        tmp_path,
        tasks={"source": "parts.game:source"},
        target={"upstream": "player", "name": "player-1"},
        upstreams=upstreams,
    )
    assert found["summary"]["initial_score"] == 1.0
    (first, *_) = (tmp_path / "runs" / "store").glob("??/*")
    with open_file(first, "companion.jsonl") as file:
        lines = [json.loads(line) for line in file]
    assert len(lines) == 2 and lines[1]["reply"] == {"open": True}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("gate.kind=parts.gate:Missing", "gate.kind: parts.gate:Missing"),
        ("gate.kind=parts.method:Rules", "gate.kind: parts.method:Rules: cannot be called with"),
        ("gate={kind: strict, options: {margin: 1}}", "gate.kind: skillopt.gates.strict"),
        ("gate.kind=stricts", "'stricts' is not one of auto, fresh, strict"),
        ("method={kind: skillopt, options: {rules: []}}", "method.kind: skillopt.training"),
        ("method.kind=parts.gate:NotWorse", "method.kind: parts.gate:NotWorse"),
        ("executor.kind=parts.gate:NotWorse", "executor.kind: parts.gate:NotWorse"),
        ("sandbox.kind=parts.gate:NotWorse", "sandbox.kind: parts.gate:NotWorse"),
        ("sandbox.kind=dokcer", "'dokcer' is not one of docker, local"),
        ("executor.kind=ray2", "'ray2' is not one of local"),
        ("tasks.source=parts.tasks:nothing", "tasks.source: parts.tasks:nothing"),
        ("tasks.source=parts.tasks:source", "missing a required argument: 'count'"),
        ("upstreams.sim={kind: 'parts.upstream:None'}", "upstreams.sim"),
        ("upstreams.sim={kind: 'nowhere:Mine'}", "nowhere:Mine"),
    ],
)
def test_a_part_that_cannot_be_used_is_refused_with_its_key(
    tmp_path: Path, setting: str, said: str
) -> None:
    done = run(tmp_path, "train", config_of(tmp_path), "--set", setting, "--dry-run")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr and "skillopt/" not in done.stderr.replace("skillopt/gates", "")
    assert not (tmp_path / "runs" / "own").exists()
