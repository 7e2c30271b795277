"""What a user gives works together or is refused; their mistakes are met before they are dear, and
stop the run with their own traceback; what only looks at a run does not end it (docs/faults, runs,
kind 8)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

import skillopt
from tests.helpers.tiny import ROOT, Tiny, command, program, tiny

pytestmark = pytest.mark.slow  # Whole runs.

__all__ = ["tiny"]


# Limits.


@pytest.mark.parametrize(
    "line",
    [
        "eval my-skill none --config tiny.yaml",
        "eval my-skill --config tiny.yaml --replicates 3",
        "transfer my-skill --config tiny.yaml -o out",
        "train tiny.yaml",
    ],
)
def test_limits_hold_in_every_command(tiny: Tiny, line: str) -> None:
    tiny.own(COUNTED)
    tiny.write(harness__name="own:Counted", limits={"rollouts": 4})
    done = command(*line.split())
    assert done.returncode == 4 and "limits.rollouts" in done.stderr + done.stdout, done.stderr
    assert len(ran(tiny)) == 4


def test_limits_hold_in_the_library(tiny: Tiny) -> None:
    """Whether a listener looks at what happens, or none."""
    tiny.own(COUNTED)
    tiny.write(harness__name="own:Counted", limits={"rollouts": 2})
    for listeners in ([], [lambda event: None]):
        with pytest.raises(Exception, match=r"limits\.rollouts"):
            skillopt.evaluate(tiny.config, ["none", "my-skill"], listeners=listeners)
    assert not skillopt.train(tiny.config, listeners=[lambda event: None]).done
    assert len(ran(tiny)) <= 6


@pytest.mark.slow
def test_a_killed_program_has_spent_what_it_has(tiny: Tiny) -> None:
    tiny.own(
        f"{COUNTED}\n\n"
        "class Dying(Counted):\n"
        "    def run(self, request, site):\n"
        "        import os, signal\n"
        "        if len(list(Path().glob('ran-*'))) == 4:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().run(request, site)\n"
    )
    tiny.write(harness__name="own:Dying", limits={"rollouts": 6}, workers=1)
    process = program("train", "tiny.yaml")
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL and len(ran(tiny)) == 4
    tiny.own(f"{COUNTED}\n\nclass Dying(Counted): pass\n")
    assert tiny.train().returncode == 4
    assert len(ran(tiny)) == 6


COUNTED = '''
import time
from pathlib import Path


class Counted(Writer):
    """Leaves a file for each rollout that is run."""

    def run(self, request, site):
        Path(f"ran-{time.monotonic_ns()}").touch()
        return super().run(request, site)
'''


def ran(tiny: Tiny) -> list[Path]:
    return list(tiny.folder.glob("ran-*"))


# A verifier of the user's own.

MISTAKES = {
    "NameError": "return Rewrad(1.0)",
    "TypeError: it returned 1.0": "return 1.0",
    "TypeError: it returned None": "judge(task, workspace, answer)",
    "Reward in [0, 1]": "return Reward(7.0)",
    "return a skillopt.Reward": "return Reward(float('nan'))",
    "AssertionError": "assert False",
    "SystemExit": "raise SystemExit(0)",
    "FileNotFoundError": "open('nowhere')",
}


@pytest.mark.parametrize(("mistake", "line"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_in_a_verifier_is_met_at_once(tiny: Tiny, mistake: str, line: str) -> None:
    for number in range(3, 12):
        tiny.task("val", f"val-{number}", "true\n")
    tiny.own(f"{COUNTED}\n\ndef mine(task, workspace, answer):\n    {line}\n")
    tiny.write(harness__name="own:Counted", verifier="own:mine", rollout_tries=3)
    done = tiny.train()
    assert done.returncode == 2, done.stderr
    assert mistake in done.stderr and done.stderr.count("Traceback") <= 1
    raised = ("return" not in line and "judge" not in line) or "Rewrad" in line
    assert ("own.py" in done.stderr) == raised, "the traceback of the user's code, if it raised"
    assert "/skillopt/" not in done.stderr.replace("site-packages", ""), "and theirs alone"
    paid = len(ran(tiny))
    assert paid <= 4, "the first stops the run"
    tiny.own(f"{COUNTED}\n\ndef mine(task, workspace, answer):\n    return Reward(1.0)\n")
    assert tiny.train("--set", "limits.rollouts=40").returncode == 0
    assert len(ran(tiny)) == len(tiny.events("rollout_ran")) - paid, "what it did is judged again"


BROKEN = """
from harnesses.gateway.upstreams import Answer

class Broken:
    max_concurrency = 2
    protocols = frozenset({"chat"})
    identity = {}

    async def send(self, call):
        MISTAKE

    async def close(self):
        pass
"""
BREAKS = {
    "NameError": "return Anwser(200)",
    "send() returned None": "return None",
    "TypeError: Object of type set is not JSON serializable": (
        "return Answer(500, 'application/json', chunks())\n\n"
        "async def chunks():\n    import json\n    yield json.dumps({1}).encode()\n"
    ),
}


@pytest.mark.parametrize("part", ["target", "optimizer"])
@pytest.mark.parametrize(("mistake", "lines"), BREAKS.items(), ids=BREAKS)
def test_a_mistake_in_a_model_service_is_no_score(
    tiny: Tiny, mistake: str, lines: str, part: str
) -> None:
    tiny.own(BROKEN.replace("MISTAKE", lines))
    upstreams = {"sim": {"kind": "sim"}, "mine": {"kind": "own:Broken"}}
    tiny.write(upstreams=upstreams, **{part: {"upstream": "mine", "name": "m"}})
    if part == "target":
        tiny.write(harness__name="direct")
    else:
        tiny.write(train__stages={})
    done = tiny.train()
    assert done.returncode == 2, done.stderr
    assert mistake in done.stderr and done.stderr.count("Traceback") == 1
    if "return None" not in lines:
        assert "own.py" in done.stderr
    expected = {"infra_error"} if part == "target" else {"completed"}
    assert {event["status"] for event in tiny.events("rollout_ran")} == expected
    assert not any(event.get("error") for event in tiny.events("replied")), "nothing is recorded"


def test_a_service_that_a_verifier_cannot_reach_is_no_mistake(tiny: Tiny) -> None:
    tiny.own("def mine(task, workspace, answer):\n    raise ConnectionError('no judge is there')\n")
    tiny.write(verifier="own:mine")
    done = tiny.train()
    assert done.returncode == 3 and "no judge is there" in done.stderr
    assert "Traceback" not in done.stderr


# Every other part of the user's own that raises.

RAISING = """
def fail(*given, **named):
    raise ZeroDivisionError("mine")


class BadHarness(Writer):
    def run(self, request, site):
        fail()


class Odd(Writer):
    def run(self, request, site):
        return "done"


def reflect_badly(rollouts, briefing, *, minibatch, batch=""):
    fail()


def reflect_oddly(rollouts, briefing, *, minibatch, batch=""):
    return None


def rank_badly(edits, briefing):
    fail()


def slow_badly(pairs, briefing):
    fail()


def meta_badly(pairs, decisions, briefing):
    fail()


def stop_badly(state, spent):
    fail()


def stop_oddly(state, spent):
    return 3


def tasks_badly(config, folder):
    fail()


class BadGate:
    def __init__(self, metric, mix):
        pass

    def decide(self, trial):
        fail()


class OddGate(BadGate):
    def decide(self, trial):
        return True


class BadMethod:
    def estimate(self, config, splits):
        from skillopt.training.method import Estimate
        return Estimate()

    def run(self, training):
        fail()


class OddMethod(BadMethod):
    def run(self, training):
        return None


class BadExecutor:
    def __init__(self, setup):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def attempt(self, job, folder):
        fail()

    def cancel(self):
        pass


class OddExecutor(BadExecutor):
    def attempt(self, job, folder):
        return None
"""
SLOW = {"slow_update": True, "epochs": 2}
PARTS: dict[str, dict[str, Any]] = {
    "harness": {"harness__name": "own:BadHarness"},
    "train.stages.reflect": {"train__stages": {"reflect": "own:reflect_badly"}},
    "train.stages.rank": {"train__stages": {"reflect": "own:reflect", "rank": "own:rank_badly"}},
    "train.stages.slow": {
        "train__slow_update": True,
        "train__stages": {"reflect": "own:reflect", "slow": "own:slow_badly"},
    },
    "train.stages.meta": {
        "train__meta_skill": True,
        "train__stages": {"reflect": "own:reflect", "meta": "own:meta_badly"},
    },
    "stop": {"stop": [{"kind": "custom", "path": "own:stop_badly"}]},
    "tasks.source": {"tasks": {"source": "own:tasks_badly"}},
    "gate": {"gate": {"kind": "own:BadGate"}},
    "method": {"method": {"kind": "own:BadMethod"}},
    "executor": {"executor": {"kind": "own:BadExecutor"}},
}
"""By what the message must name, the settings with a part that raises."""
ODD: dict[str, dict[str, Any]] = {
    "harness": {"harness__name": "own:Odd"},
    "train.stages.reflect": {"train__stages": {"reflect": "own:reflect_oddly"}},
    "stop": {"stop": [{"kind": "custom", "path": "own:stop_oddly"}]},
    "gate": {"gate": {"kind": "own:OddGate"}},
    "method": {"method": {"kind": "own:OddMethod"}},
    "executor": {"executor": {"kind": "own:OddExecutor"}},
}
"""With one that returns something else than it should."""


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_raises_has_its_own_traceback(tiny: Tiny, part: str) -> None:
    tiny.own(RAISING)
    tiny.write(**PARTS[part])
    done = tiny.train()
    assert done.returncode == 2, done.stderr
    assert "skillopt: " + part in done.stderr and "ZeroDivisionError: mine" in done.stderr
    assert done.stderr.count("Traceback") == 1 and "in fail\n" in done.stderr
    assert "skillopt/rollouts" not in done.stderr and "skillopt/training" not in done.stderr
    assert command("show", "runs/tiny").returncode == (2 if part == "tasks.source" else 0)
    if part != "tasks.source":
        assert "ZeroDivisionError: mine" in command("show", "runs/tiny").stdout
    found = tiny.train("--json")
    assert "ZeroDivisionError: mine" in json.loads(found.stdout)["error"]["message"]


@pytest.mark.parametrize("part", ODD)
def test_a_part_that_returns_something_else_is_told_so(tiny: Tiny, part: str) -> None:
    tiny.own(RAISING)
    tiny.write(**ODD[part])
    done = tiny.train()
    assert done.returncode == 2, done.stderr
    assert "skillopt: " + part in done.stderr and "it returned" in done.stderr


def test_what_the_disk_refuses_is_not_the_users_mistake(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a gate, a method and stages of the user's own are what calls what writes."""
    tiny.own("def rank(edits, briefing):\n    return StageResult(edits)\n")
    tiny.write(train__stages={"reflect": "own:reflect", "rank": "own:rank"})
    free = shutil.disk_usage("/")

    def full(_: Any) -> Any:
        gated = tiny.events("stage_started")[-1]["stage"] == "gate"
        return free._replace(free=0) if gated else free

    monkeypatch.setattr(shutil, "disk_usage", full)
    done = tiny.train()
    assert done.returncode == 3 and "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr and "your own code" not in done.stderr


# What only looks at a run.


def test_a_listener_that_raises_is_switched_off(tiny: Tiny) -> None:
    calls: list[str] = []
    heard: list[Any] = []

    def dashboard(event: Any) -> None:
        calls.append(getattr(event, "kind", ""))
        if len(calls) == 5:
            raise ConnectionError("the dashboard is away")

    result = skillopt.train(tiny.config, listeners=[dashboard, heard.append])
    assert result.done and len(calls) == 5
    told = [e.text for e in heard if "the dashboard is away" in getattr(e, "text", "")]
    assert len(told) == 1 and "dashboard" in told[0] and "ConnectionError" in told[0]
    assert "the dashboard is away" in command("show", "runs/tiny", "--json").stdout
    rows = skillopt.evaluate(tiny.config, ["my-skill"], listeners=[lambda event: 1 / 0])
    assert len(rows) == 1


FAKES: dict[str, Callable[[str], dict[str, types.ModuleType]]] = {}


def module(name: str, **names: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    made.__path__ = []
    made.__dict__.update(names)
    return made


class Fake:
    """Whatever is asked of it, it does; but for one word, at which it raises."""

    def __init__(self, bad: str, calls: list[str]) -> None:
        self.bad, self.calls = bad, calls

    experiment_id = run_id = "1"

    @property
    def info(self) -> Fake:
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            self.calls.append(name)
            if name == self.bad:
                raise RuntimeError(f"cannot {name}")
            return contextlib.nullcontext(self) if name == "new_file" else self

        return call

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.__getattr__("start")()


def fakes(tracker: str, bad: str, calls: list[str]) -> dict[str, types.ModuleType]:
    fake = Fake(bad, calls)
    match tracker:
        case "wandb":
            return {"wandb": module("wandb", init=fake.init, Artifact=fake.artifact)}
        case "tensorboard":
            return {"tensorboardX": module("tensorboardX", SummaryWriter=fake)}
        case "mlflow":
            tracking = module("mlflow.tracking", MlflowClient=fake)
            return {"mlflow": module("mlflow", tracking=tracking), "mlflow.tracking": tracking}
    trace = module("opentelemetry.trace", get_tracer=fake.get_tracer)
    return {"opentelemetry": module("opentelemetry", trace=trace), "opentelemetry.trace": trace}


TRACKERS = {
    "wandb": ("init", "log", "log_artifact", "finish"),
    "tensorboard": ("start", "add_scalar", "flush", "close"),
    "mlflow": ("start", "create_run", "log_metric", "log_text", "set_terminated"),
    "opentelemetry": ("get_tracer", "start_span", "set_attributes"),
}
"""By tracker, what is asked of its package at the start, in the middle and at the end."""


@pytest.mark.parametrize(
    ("tracker", "bad"), [(name, word) for name, words in TRACKERS.items() for word in words]
)
def test_a_tracker_that_raises_is_switched_off(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tracker: str, bad: str
) -> None:
    calls: list[str] = []
    for name, made in fakes(tracker, bad, calls).items():
        monkeypatch.setitem(sys.modules, name, made)
    tiny.write(trackers=[tracker])
    done = tiny.train()
    assert done.returncode == 0, done.stderr
    assert calls.count(bad) == 1, calls
    assert done.stderr.count(f"cannot {bad}") == 1 and tracker in done.stderr
    assert [r["text"] for r in tiny.events("noted")].count(
        next(r["text"] for r in tiny.events("noted") if f"cannot {bad}" in r["text"])
    ) == 1


def test_a_tracker_that_is_not_installed_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    done = tiny.train("--set", "trackers=[tensorboard]")
    assert done.returncode == 2 and "skillopt-harness[tensorboard]" in done.stderr
    assert not Path("runs").exists()


# What is given together.


def own_module() -> Any:
    import own

    return own


def test_a_harness_as_an_object_needs_no_key(tiny: Tiny) -> None:
    del tiny.settings["harness"]
    tiny.write()
    plugins = skillopt.Plugins(harness=own_module().Writer())
    result = skillopt.train(tiny.config, plugins=plugins)
    assert result.done and result.summary["best_score"] > 0
    rows = skillopt.evaluate(tiny.config, ["none", "my-skill"], plugins=plugins)
    assert len(rows) == 2


GIVEN: dict[str, dict[str, Any]] = {
    "a verifier by its path": {"verifier": "own:judge"},
    "a verifier of one argument": {"verifier": lambda task: None},
    "a stage that there is not": {"stages": {"gate": print}},
    "a stage of no arguments": {"stages": {"rank": lambda: None}},
    "a condition of one argument": {"stop": [lambda state: ""]},
    "a condition by its path": {"stop": ["own:enough"]},
    "a harness that is none": {"harness": object()},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_objects_that_cannot_be_used_are_refused_at_the_start(
    tiny: Tiny, given: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match=next(iter(given))) as caught:
        skillopt.train(tiny.config, plugins=skillopt.Plugins(**given))
    assert type(caught.value).__name__ == "PluginError" and not Path("runs").exists()


def test_a_verifier_of_ones_own_needs_no_tests_and_sees_the_rollout(tiny: Tiny) -> None:
    for task in Path("tasks").glob("*/*"):
        shutil.rmtree(task / "tests")
        shutil.rmtree(task / "environment")
    tiny.own(
        "def mine(task, workspace, answer, rollout):\n"
        "    assert rollout.is_dir() and answer == 'said'\n"
        "    return judge(task, workspace, answer)\n"
    )
    done = tiny.train("--set", "verifier=own:mine")
    assert done.returncode == 0, done.stderr
    assert tiny.summary["best_score"] > 0
    assert command("eval", "none", "--config", "tiny.yaml").returncode == 0
    done = tiny.train("--set", "verifier=null", "--set", "name=other")
    assert done.returncode == 2 and "missing" in done.stderr


def test_tasks_can_be_given_as_objects(tiny: Tiny) -> None:
    def empty(workspace: Path) -> None:
        """Nothing is there at first."""

    def task(name: str) -> Any:
        return skillopt.Task(name=name, instruction="Do it.", digest=name, workspace=empty)

    given = {
        split: [task(f"{split}-{number}") for number in range(3)]
        for split in ("train", "val", "test")
    }
    result = skillopt.train(tiny.config, plugins=skillopt.Plugins(tasks=given))
    assert result.done and result.summary["best_score"] > 0
    for wrong in ({"valid": []}, {"val": ["a"]}, {"val": [task("a")], "test": [task("a")]}):
        with pytest.raises(skillopt.SkillOptError, match="tasks"):
            skillopt.train(tiny.config, plugins=skillopt.Plugins(tasks=wrong), fork="wrong")


# Two packages of one name.

THEIRS = "Metadata-Version: 2.1\nName: skillopt\nVersion: 0.2.0\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages, with this one."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("harnesses", "sandboxes", "configs", "dockerfiles"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "skillopt", folder / "skillopt", symlinks=True)
    return folder


def theirs(site: Path) -> None:
    """The other one, as far as it can be seen."""
    info = site / "skillopt-0.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(THEIRS)
    (info / "RECORD").write_text("skillopt/__init__.py,,\nskillopt/types.py,,\n")


def python(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=env, cwd=site, timeout=100
    )


@pytest.mark.slow
def test_an_installation_over_the_other_package_is_noticed(site: Path) -> None:
    clean = python(site, "-c", "import skillopt, sys; print('importlib.metadata' in sys.modules)")
    assert (clean.stdout, clean.stderr, clean.returncode) == ("False\n", "", 0), "and costs nothing"
    theirs(site)
    done = python(site, "-c", "import skillopt; skillopt.train")
    said = done.stderr.replace("\n", " ")
    for part in ("'skillopt'", "pip uninstall", "skillopt-harness", "environment"):
        assert part in said, done.stderr
    checked = python(site, "-m", "skillopt", "doctor", "--json")
    bad = [check for check in json.loads(checked.stdout) if check["name"] == "installation"]
    assert not bad[0]["ok"] and "skillopt/__init__.py" in bad[0]["detail"]
    assert "pip uninstall" in bad[0]["advice"]


@pytest.mark.slow
def test_an_installation_that_the_other_package_has_overwritten_is_noticed(site: Path) -> None:
    theirs(site)
    (site / "skillopt" / "__init__.py").write_text('"""Theirs."""\n__version__ = "0.2.0"\n')
    done = python(site, "-c", "from skillopt.cli import main; main(['runs', 'list'])")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "pip uninstall" in done.stderr and "skillopt-harness" in done.stderr
    checked = python(site, "-c", "from skillopt.cli import main; main(['doctor', '--json'])")
    assert '"installation"' in checked.stdout and "pip uninstall" in checked.stdout
