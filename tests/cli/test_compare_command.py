"""``skillopt compare`` trains what is not finished, goes on after anything, says what differs."""

from __future__ import annotations

import json
import os
import time
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from skillopt.cli import EXIT_INTERRUPTED, EXIT_LIMIT, EXIT_PAUSED, EXIT_USAGE
from skillopt.run.folder import read_state
from tests.helpers.tiny import SOLVED, Tiny, command, program, refused, refused_as_json, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

BROKEN = """
from sandboxes.base import SandboxError


class Broken(Writer):
    def run(self, request, site):
        if "- rule 1" in ((request.skill / "SKILL.md").read_text() if request.skill else ""):
            raise SandboxError("no engine")
        return super().run(request, site)


class Slow(Writer):
    def run(self, request, site):
        import time

        time.sleep(0.3)
        return super().run(request, site)
"""


def config(tiny: Tiny, name: str, **settings: Any) -> Path:
    """A config of its own name beside that of ``tiny``."""
    kept = deepcopy(tiny.settings)
    tiny.write(name=name, **settings)
    file = tiny.put(f"{name}.yaml", tiny.config.read_bytes())
    tiny.settings = kept
    tiny.write()
    return file


def told(*argv: str | Path) -> dict[str, Any]:
    done = command("compare", *argv, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_configs_are_trained_under_each_seed_and_compared(tiny: Tiny) -> None:
    base = config(tiny, "base", method={"kind": "none"})
    loop = config(tiny, "loop")
    found = told(base, loop, "--seeds", "1,2,3")
    assert [row["run"] for row in found["runs"]] == [
        f"{name}-seed-{seed}" for name in ("base", "loop") for seed in (1, 2, 3)
    ]
    assert [row["seed"] for row in found["runs"]] == [1, 2, 3] * 2
    assert [row["method"] for row in found["methods"]] == ["none", "skillopt"]
    assert found["methods"][1]["seeds"] == [1, 2, 3]
    (pair,) = found["pairs"]
    assert (pair["method"], pair["other"]) == ("skillopt", "none")
    assert pair["over_runs"]["value"] == pytest.approx(pair["over_tasks"]["gain"]["value"])
    logs = {log: log.read_bytes() for log in Path("runs").glob("*/events.jsonl")}
    assert len(logs) == 6
    assert told(base, loop, "--seeds", "1,2,3") == found
    assert {log: log.read_bytes() for log in logs} == logs  # Nothing was run again.


def test_all_seeds_have_the_same_tasks_in_each_split(tiny: Tiny) -> None:
    """Of a folder without splits, which the run's seed would split."""
    for number in range(12):
        tiny.task("../flat", f"task-{number}", SOLVED)
    base = config(tiny, "base", method={"kind": "none"}, tasks={"source": "flat"})
    found = told(base, "--seeds", "1,2")
    assert [row["run"] for row in found["runs"]] == ["base-seed-1", "base-seed-2"]
    for seed in (1, 2):
        alone = config(tiny, f"alone-{seed}", method={"kind": "none"}, tasks={"source": "flat"},
                       seed=seed)  # fmt: skip
        assert command("train", alone).returncode == 0
    refused(command("compare", "alone-1", "alone-2"), "other test tasks", "tasks.split_seed")


def test_runs_and_configs_keep_the_order_of_the_arguments(tiny: Tiny) -> None:
    assert tiny.train().returncode == 0
    base = config(tiny, "base", method={"kind": "none"})
    found = told(base, "tiny", "--set", "seed=7")
    assert [(row["run"], row["seed"]) for row in found["runs"]] == [("base", 7), ("tiny", 42)]
    done = command("compare", base, "runs/tiny", "--set", "seed=7")
    assert "skillopt against none: " in done.stdout
    assert "says nothing about other seeds" not in found["methods"][0]["words"]


def test_a_dry_run_plans_and_runs_nothing(tiny: Tiny) -> None:
    base = config(tiny, "base", method={"kind": "none"})
    single = json.loads(command("train", base, "--dry-run", "--json").stdout)
    found = json.loads(command("compare", base, "--seeds", "1,2", "--dry-run", "--json").stdout)
    assert [run["name"] for run in found["runs"]] == ["base-seed-1", "base-seed-2"]
    assert found["rollouts"] == 2 * single["rollouts"] > 0
    assert [run["state"] for run in found["runs"]] == ["not started"] * 2
    shown = command("compare", base, "--seeds", "1,2", "--dry-run").stdout
    assert f"2 runs, {found['rollouts']} rollouts at most" in shown
    assert not Path("runs").exists()


def test_a_run_that_fails_is_said_and_the_others_are_compared(tiny: Tiny) -> None:
    tiny.own(BROKEN)
    base = config(tiny, "base", method={"kind": "none"}, harness={"name": "own:Broken"})
    loop = config(tiny, "loop", harness={"name": "own:Broken"})
    done = command("compare", base, loop)
    assert done.returncode == EXIT_PAUSED
    assert "run 2 of 2, loop: " in done.stderr and "no engine" in done.stderr
    assert "loop is not finished: " in done.stdout and "base against its start" in done.stdout
    tiny.own(BROKEN.replace('"- rule 1"', '"- rule 9"'))
    done = command("compare", base, loop)
    assert done.returncode == 0 and "is not finished" not in done.stdout


def test_a_run_that_a_limit_stops_is_said_too(tiny: Tiny) -> None:
    loop = config(tiny, "loop", limits={"rollouts": 8})
    base = config(tiny, "base", method={"kind": "none"})
    done = command("compare", loop, base, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == EXIT_LIMIT and "limits.rollouts" in found["failed"]["loop"]
    assert [row["run"] for row in found["runs"]] == ["base"]


def test_after_an_interruption_the_same_command_goes_on(tiny: Tiny) -> None:
    tiny.own(BROKEN)
    base = config(tiny, "base", method={"kind": "none"}, harness={"name": "own:Slow"})
    loop = config(tiny, "loop", harness={"name": "own:Slow"})
    started = program("compare", base, loop)
    log = Path("runs/loop/events.jsonl")
    until = time.monotonic() + 60
    while not (log.exists() and "step_done" in log.read_text()):
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    started.send_signal(2)
    _, err = started.communicate(timeout=60)
    assert started.returncode == EXIT_INTERRUPTED and "again to resume" in err
    assert read_state(Path("runs/base"))[0].done and not read_state(Path("runs/loop"))[0].done
    ran = len(tiny.events("rollout_ran", Path("runs/base")))
    found = told(base, loop)
    assert [row["run"] for row in found["runs"]] == ["base", "loop"]
    assert len(tiny.events("rollout_ran", Path("runs/base"))) == ran
    keys = [record["key"] for record in tiny.events("rollout_ran", Path("runs/loop"))
            if record["status"] == "completed"]  # fmt: skip
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks__exclude": ["test-0"]}, "other test tasks"),
        ({"target": {"upstream": "sim", "name": "sim-2"}}, "other models"),
        ({"gate__metric": "soft"}, "other metrics"),
        ({"final__test": False}, "no scores on a test split"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    tiny: Tiny, settings: dict[str, Any], said: str
) -> None:
    first, other = config(tiny, "first"), config(tiny, "other", **settings)
    refused(command("compare", first, other), said, code=EXIT_USAGE)
    assert not list(Path("runs").glob("*/events.jsonl"))


def test_what_else_differs_is_said(tiny: Tiny) -> None:
    tiny.put("own-skill/SKILL.md", "---\nname: my-skill\ndescription: d\n---\n\n# Other\n")
    budget = {"kind": "textgrad", "batch_size": 2, "epochs": 1, "rollouts": 12}
    first = config(tiny, "first", method=budget)
    other = config(tiny, "other", skill={"init": "own-skill"}, tasks__exclude=["train-0"])
    found = told(first, other)
    assert "method.rollouts differs: 12 for textgrad; (none) for skillopt" in found["unlike"]
    keys = {text.partition(" ")[0] for text in found["unlike"]}
    assert keys == {"method.rollouts", "skill.digest", "tasks.train"}
    assert set(found["unlike"]) <= set(command("compare", first, other).stdout.splitlines())


def test_methods_with_other_settings_stay_apart(tiny: Tiny) -> None:
    short = config(tiny, "short", train__epochs=1)
    found = told(tiny.config, short, "--seeds", "1,2,1")
    assert [row["method"] for row in found["methods"]] == [
        "skillopt (tiny-seed-1)", "skillopt (short-seed-1)",
    ]  # fmt: skip
    assert "train.epochs differs: 2 for skillopt (tiny-seed-1)" in found["unlike"][0]


def test_the_files_have_what_was_compared(tiny: Tiny) -> None:
    base = config(tiny, "base", method={"kind": "none"})
    files = {name: Path("out") / f"all.{name}" for name in ("csv", "svg", "html")}
    argv = ["--csv", files["csv"], "--plot", files["svg"], "--page", files["html"]]
    done = command("compare", base, tiny.config, *argv)
    assert done.returncode == 0, done.stderr
    assert all(f"wrote {file}" in done.stderr for file in files.values())
    header, *lines = files["csv"].read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["base", "tiny"]
    assert {"over_none_low", "overshoot", "judge_tokens", "usd", "findings"} <= set(
        header.split(",")
    )
    svg = ET.parse(files["svg"]).getroot()
    paths = svg.findall(".//{http://www.w3.org/2000/svg}path")
    assert [path.get("class") for path in paths] == ["curve run0", "curve run1"]
    page = files["html"].read_text()
    assert "<script" not in page and "Differences between methods" in page


def test_a_file_behind_a_link_is_written_and_the_link_stays(tiny: Tiny) -> None:
    assert tiny.train().returncode == 0
    link, file = Path("link.csv"), Path("all.csv")
    file.write_text("old")
    link.symlink_to(file)
    assert command("compare", tiny.run, "--csv", link).returncode == 0
    assert link.is_symlink() and file.read_text().startswith("run,method")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere"], "nowhere: no such run"),
        (["nowhere.yaml"], "nowhere.yaml: "),
        (["quickstart/local", "--set", "workers=x"], "workers"),
        (["runs/tiny", "--seeds", "1"], "are for a CONFIG"),
        (["tiny.yaml", "--seeds", "1,x"], "must be numbers"),
        (["tiny.yaml", "tiny.yaml"], "give each a name of its own"),
        (["tiny.yaml", "own.py"], "own.py"),
        (["tiny.yaml", "--csv", ""], "the name is empty"),
        (["tiny.yaml", "--csv", "own.py/all.csv"], "own.py"),
        (["tiny.yaml", "--csv", "pipe"], "pipe is no file"),
        (["tiny.yaml", "--csv", "all", "--page", "./all"], "is to be written twice"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(tiny: Tiny, argv: list[str], said: str) -> None:
    os.mkfifo("pipe")
    if argv[0] == "runs/tiny":
        assert tiny.train().returncode == 0
    refused(command("compare", *argv), said, code=EXIT_USAGE)
    assert said in refused_as_json(command("compare", *argv, "--json"))["message"]
    if argv[0] != "runs/tiny":
        assert not tiny.run.exists()  # Nothing was trained before it.
