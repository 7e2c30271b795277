"""Whatever is said of a rollout or a step is kept with its reason, and every view tells it, at any
time of a run's life (docs/faults, runs, kind 3)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import skillopt
from tests.helpers.tiny import BROKEN, SOLVED, Tiny, command, refused, tiny

pytestmark = pytest.mark.slow  # Whole runs.

__all__ = ["tiny"]


def a_service_that_fails(at: Tiny) -> None:
    at.write(harness__name="direct", upstreams={"sim": {"kind": "sim", "error_rate": 1.0}})


def a_verifier_without_a_verdict(at: Tiny) -> None:
    at.task("val", "val-1", BROKEN)
    at.write(verifier=None)


def a_verifier_that_hangs(at: Tiny) -> None:
    at.task("val", "val-1", "echo no such module: numpy >&2; sleep 60\n")
    at.put("tasks/val/val-1/task.toml", 'schema_version = "1.4"\n[verifier]\ntimeout_sec = 1\n')
    at.write(verifier=None)


def an_image_that_cannot_be_built(at: Tiny) -> None:
    at.put("tasks/val/val-1/environment/Dockerfile", "FROM debian\nRUN make\nWORKDIR /app\n")


def an_agent_that_gives_up(at: Tiny) -> None:
    at.own(
        "class Broken(Writer):\n"
        "    def run(self, request, site):\n"
        "        said = Status.INFRA_ERROR, 'the host is on fire'\n"
        "        return Outcome(*said, '', None, Usage(), True, '1', 0.0)\n"
    )
    at.write(harness__name="own:Broken")


CASES: dict[Callable[[Tiny], None], str] = {
    a_service_that_fails: "simulated outage",
    a_verifier_without_a_verdict: "no such module: numpy",
    a_verifier_that_hangs: "no such module: numpy",
    an_image_that_cannot_be_built: "needs a container image of its own",
    an_agent_that_gives_up: "the host is on fire",
}


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
@pytest.mark.slow
def test_a_rollout_that_failed_for_infrastructure(
    tiny: Tiny, change: Callable[[Tiny], None]
) -> None:
    change(tiny)
    reason = CASES[change]
    done = tiny.train()
    refused(done, reason, code=3)
    ran = [r for r in tiny.events("rollout_ran") if r["status"] == "infra_error"]
    assert ran and all(reason in record["message"] for record in ran)
    task, key = ran[-1]["task"], ran[-1]["key"]
    told = {
        "terminal": done.stderr,
        "log": json.dumps(ran),
        "store": (tiny.store / "failed" / key / "result.json").read_text(),
        "show": command("show", "tiny").stdout,
        "show --json": json.dumps(json.loads(command("show", "tiny", "--json").stdout)["failures"]),
        "follow": command("show", "tiny", "--follow", task).stdout,
        "summary": (tiny.run / "summary.json").read_text(),
    }
    assert [where for where, text in told.items() if reason not in text] == []
    named = re.compile(rf"{tiny.folder}[^\s\"',;:\\]+")
    paths = {name for text in told.values() for name in named.findall(text)}
    assert [name for name in sorted(paths) if not Path(name).exists()] == []
    assert reason in report_of(tiny), "the report"


def report_of(tiny: Tiny) -> str:
    done = command("report", "tiny", "-o", "page.html")
    assert done.returncode == 0, done.stderr
    return Path("page.html").read_text()


def test_what_is_mended_is_no_failure_any_more(tiny: Tiny) -> None:
    a_verifier_without_a_verdict(tiny)
    assert tiny.train().returncode == 3
    tiny.task("val", "val-1", SOLVED)
    assert tiny.train().returncode == 0
    shown = command("show", "tiny")
    assert "no such module" not in shown.stdout, "nor is it shown as one"


@pytest.mark.parametrize("test", [BROKEN, "exit 1\n", "echo so what > $VERIFIER_LOGS/reward.txt"])
def test_the_check_of_tasks_names_no_folder_that_is_gone(tiny: Tiny, test: str) -> None:
    for number in range(3):
        shutil.rmtree(f"tasks/train/train-{number}")
    tiny.task("train", "train-0", test)
    tiny.put("tasks/train/train-0/solution/solve.sh", "true\n")
    done = command("tasks", "validate", "tasks/train/train-0", "--solve", "--local")
    refused(done, code=1)
    assert "tests/test.sh" in done.stdout and "exit code" in done.stdout
    assert ("no such module: numpy" in done.stdout) == (test == BROKEN)
    for name in re.findall(r"/\S+", done.stdout):
        assert Path(name.strip(".,;:()")).exists() or name.count("/") == 1, name


def test_a_run_without_a_score(tiny: Tiny) -> None:
    """In its baseline; stopped there; killed there; refused."""
    seen: list[str] = []

    def look(event: object) -> None:
        if getattr(event, "kind", "") == "stage_started" and not seen:
            done = command("show", "tiny")
            assert done.returncode == 0, done.stderr
            seen.append(done.stdout)
            seen.append(command("runs", "list").stdout)

    tiny.write(limits={"rollouts": 2})
    result = skillopt.train(tiny.config, listeners=[look])
    assert not result.done
    during, listed = seen
    assert "running" in during and "baseline" in during and "no score" in during.lower()
    assert "tiny" in listed and "running" in listed and "0.000" not in listed
    shown, listed = command("show", "tiny"), command("runs", "list").stdout
    assert shown.returncode == 0 and "limits.rollouts" in shown.stdout
    assert "no score" in shown.stdout.lower() and "0.000" not in shown.stdout + listed
    found = json.loads(command("show", "tiny", "--json").stdout)["summary"]
    assert found["initial_score"] is None and found["best_score"] is None
    assert command("runs", "rebuild", "tiny").returncode == 0
    assert "limits.rollouts" in report_of(tiny)


def test_a_run_is_found_by_its_name(tiny: Tiny) -> None:
    assert tiny.train().returncode == 0
    for words in (["show"], ["show", "--step", "1"], ["report"], ["runs", "rebuild"]):
        first, *others = words
        done = command(first, *(o for o in others if o == "rebuild"), "tiny",
                       *(o for o in others if o != "rebuild"))  # fmt: skip
        assert done.returncode == 0, done.stderr
    refused(command("show", "tiney"), "tiney", "tiny")


SKIPS = {
    "the optimizer proposed nothing": "    return StageResult(())",
    "1 refused": "    return StageResult((Patch((Edit('delete', 'not there'),), '', 'failure'),))",
}


@pytest.mark.parametrize(("reason", "code"), SKIPS.items(), ids=SKIPS)
def test_a_skipped_step_says_why(tiny: Tiny, reason: str, code: str) -> None:
    tiny.own(f"def nothing(rollouts, briefing, *, minibatch, batch=''):\n{code}\n")
    tiny.write(train__stages={"reflect": "own:nothing"}, train__epochs=1)
    done = tiny.train()
    assert done.returncode == 0, done.stderr
    told = {
        "terminal": done.stderr,
        "show": command("show", "tiny").stdout,
        "step": command("show", "tiny", "--step", "1").stdout,
        "history": (tiny.run / "history.json").read_text(),
        "report": report_of(tiny),
    }
    assert [where for where, text in told.items() if reason not in text] == []


GUIDANCE = """
def slow(pairs, briefing):
    from dataclasses import replace
    return StageResult(replace(briefing.skill, body=briefing.skill.body + "\\n- rule 2"))


def nothing(rollouts, briefing, *, minibatch, batch=""):
    return StageResult(())
"""


def test_an_accepted_slow_update_is_counted(tiny: Tiny) -> None:
    tiny.own(GUIDANCE)
    stages = {"reflect": "own:nothing", "slow": "own:slow"}
    tiny.write(train__slow_update=True, train__stages=stages)
    done = tiny.train("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"] == 1
    assert "slow update: accept" in command("show", "tiny").stdout


def test_a_skill_that_is_never_opened_has_a_hint(tiny: Tiny) -> None:
    tiny.own(
        "class Blind(Writer):\n"
        "    def run(self, request, site):\n"
        "        super().run(request, site)\n"
        "        return Outcome(Status.COMPLETED, '', '', None, Usage(), False, '1', 0.0)\n"
    )
    tiny.write(harness__name="own:Blind")
    for words in (["train", "tiny.yaml"], ["show", "tiny"],
                  ["eval", "my-skill", "--config", "tiny.yaml"]):  # fmt: skip
        done = command(*words)
        assert "0 %" in done.stdout and "description" in done.stdout, done.stdout
