"""``skillopt rejudge`` and ``skillopt store``: wrong verdicts are taken back, and no agent runs."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.packed import PACKED
from skillopt.run.journal import read_records
from tests.helpers.packed import made_plain
from tests.helpers.tiny import Tiny, command, refused, tiny, wants

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

COUNTED = '''
import time
from pathlib import Path


class Counted(Writer):
    """Leaves a file for each rollout that is run."""

    def run(self, request, site):
        Path(f"ran-{time.monotonic_ns()}").touch()
        return super().run(request, site)


def hard(task, workspace, answer):
    return Reward(0.0, {}, "too hard")
'''


def ran(tiny: Tiny) -> int:
    return len(list(tiny.folder.glob("ran-*")))


def counted(tiny: Tiny, **settings: Any) -> Tiny:
    tiny.own(COUNTED)
    tiny.write(harness__name="own:Counted", **settings)
    return tiny


def judged_by_tests(tiny: Tiny) -> Tiny:
    """The tasks' own tests judge, in local processes."""
    tiny.settings.pop("verifier")
    return counted(tiny)


def listed(*words: str) -> list[dict[str, Any]]:
    done = command("store", "list", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def rejudged(*words: str | Path, code: int = 0) -> list[dict[str, Any]]:
    done = command("rejudge", *words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_corrected_verifier_judges_everything_and_no_agent_runs_again(tiny: Tiny) -> None:
    counted(tiny, verifier="own:hard")
    assert tiny.train().returncode == 0 and tiny.summary["best_score"] == 0.0
    before, known = ran(tiny), len(listed())
    tiny.own(COUNTED.replace("return Reward(0.0", "return judge(task, workspace, answer)\n    #"))
    refused(tiny.train(), "own.verifier: own:hard#", "skillopt rejudge runs/tiny'", "--fork")
    told = rejudged("runs/tiny")
    assert len(told) == known and all(one["new_key"] != one["key"] for one in told)
    assert {one["before"] for one in told} == {0.0} and {one["after"] for one in told} == {0.0, 1.0}
    assert ran(tiny) == before
    assert tiny.train("--fork", "mended").returncode == 0
    first = {one["new_key"] for one in told}
    again = {r["key"] for r in tiny.events("rollout_ran", tiny.folder / "runs" / "mended")}
    assert not first & again
    assert ran(tiny) == before + len(again)


def test_corrected_tests_judge_the_same_work(tiny: Tiny) -> None:
    judged_by_tests(tiny)
    assert command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val").returncode == 0
    before = ran(tiny)
    assert {one["soft"] for one in listed()} == {0.0}
    for number in range(3):
        tiny.task("val", f"val-{number}", "test -f said.txt\n" + wants(0).replace("rule 0", "Rul"))
        tiny.put(f"tasks/val/val-{number}/tests/test.sh", "echo 1 > $VERIFIER_LOGS/reward.txt\n")
    told = rejudged("--config", "tiny.yaml")
    assert [(one["before"], one["after"]) for one in told] == [(0.0, 1.0)] * 3
    done = command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val", "--json")
    assert json.loads(done.stdout)[0]["score"]["value"] == 1.0
    assert ran(tiny) == before
    (row,) = (one for one in listed() if one["key"] == told[0]["new_key"])
    shown = json.loads(command("store", "show", row["key"], "--json").stdout)
    assert [(one["soft"], one["key"]) for one in shown["earlier"]] == [(0.0, told[0]["key"])]


def test_the_same_tests_replace_the_verdict_and_keep_the_old_one(tiny: Tiny) -> None:
    """Tests whose result depends on something that is not in the task, such as a service."""
    judged_by_tests(tiny)
    tests = f'cp {tiny.folder}/verdict "$VERIFIER_LOGS/reward.txt"\n'
    tiny.put("verdict", "0\n")
    for number in range(3):
        tiny.task("val", f"val-{number}", tests + f"# {number}\n")
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    tiny.put("verdict", "1\n")
    one = rejudged("--config", "tiny.yaml", "--task", "val-1")
    assert [(r["task"], r["before"], r["after"]) for r in one] == [("val-1", 0.0, 1.0)]
    assert one[0]["key"] == one[0]["new_key"]
    assert {r["task"]: r["soft"] for r in listed()} == {"val-0": 0.0, "val-1": 1.0, "val-2": 0.0}
    shown = json.loads(command("store", "show", one[0]["key"], "--json").stdout)
    assert [verdict["soft"] for verdict in shown["earlier"]] == [0.0] and not shown["not_rejudged"]
    assert ran(tiny) == 3 and command("store", "verify").returncode == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("instruction.md", "Do something else.\n"),
        ("environment/Dockerfile", "FROM skillopt/agent-base:1\nWORKDIR /other\n"),
        ("task.toml", 'schema_version = "1.4"\n[environment]\nmemory_mb = 65\nstorage_mb = 64\n'),
        ("task.toml", 'schema_version = "1.4"\n[agent]\ntimeout_sec = 5.0\n'),
    ],
)
def test_what_the_agent_got_must_be_the_same(tiny: Tiny, file: str, content: str) -> None:
    judged_by_tests(tiny)
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    tiny.put(f"tasks/val/val-0/{file}", content)
    told = rejudged("--config", "tiny.yaml", "--task", "val-*", code=1)
    problems = {one["task"]: one["problem"] for one in told}
    assert "instruction, environment or limits have changed; run it again" in problems["val-0"]
    assert not problems["val-1"] and len(listed("--task", "val-0")) == 1


def test_rollouts_of_an_earlier_version_are_told_so(tiny: Tiny) -> None:
    judged_by_tests(tiny)
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    for row in listed():
        folder = made_plain(Path(row["folder"]))
        for name in ("work.json", "work.tar.gz"):
            (folder / name).unlink()
    told = rejudged("--config", "tiny.yaml", code=1)
    assert all("an earlier version ran it" in one["problem"] for one in told)
    assert len(listed()) == 3


def test_a_question_is_judged_again_by_the_answer_that_was_given(tiny: Tiny) -> None:
    """Also one from before work was kept."""
    judged_by_tests(tiny)
    for number in range(3):
        task = tiny.folder / "tasks" / "val" / f"val-{number}"
        shutil.rmtree(task / "environment")
        (task / "tests" / "test.sh").unlink()
        tiny.put(f"tasks/val/val-{number}/tests/answer.txt", "wrong\n")
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    for row in listed():
        folder = made_plain(Path(row["folder"]))
        for name in ("work.json", "work.tar.gz"):
            (folder / name).unlink(missing_ok=True)
    before = ran(tiny)
    for number in range(3):
        tiny.put(f"tasks/val/val-{number}/tests/answer.txt", "said\n")
    told = rejudged("--config", "tiny.yaml")
    assert [(one["before"], one["after"]) for one in told] == [(0.0, 1.0)] * len(told)
    assert told and ran(tiny) == before


def test_the_verifiers_network_may_change_and_the_agents_sandbox_may_not(tiny: Tiny) -> None:
    counted(tiny)
    words = ("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    command(*words)
    open_tests = ("--set", "sandbox.verifier_network=registries")
    other = rejudged("--config", "tiny.yaml", "--set", "sandbox.limits.memory_mb=99", code=1)
    assert all("sandbox settings" in one["problem"] for one in other)
    told = rejudged("--config", "tiny.yaml", *open_tests)
    assert all(one["new_key"] != one["key"] for one in told)
    command(*words, *open_tests)
    assert ran(tiny) == 3, "it is found under the new settings"


def test_what_the_agent_failed_at_is_taken_over(tiny: Tiny) -> None:
    tiny.own(
        f"{COUNTED}\n\n"
        "class Failing(Counted):\n"
        "    def run(self, request, site):\n"
        "        from dataclasses import replace\n"
        "        return replace(super().run(request, site), status=Status.AGENT_TIMEOUT)\n"
    )
    tiny.write(harness__name="own:Failing", verifier="own:hard")
    words = ("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    command(*words)
    tiny.write(verifier="own:judge")
    told = rejudged("--config", "tiny.yaml")
    assert [(one["status"], one["after"]) for one in told] == [("agent_timeout", 0.0)] * 3
    command(*words)
    assert ran(tiny) == 3


def test_a_verifier_that_fails_again_changes_nothing(tiny: Tiny) -> None:
    judged_by_tests(tiny)
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    before = listed()
    tiny.put("tasks/val/val-0/tests/test.sh", "exit 3\n")
    (told,) = rejudged("--config", "tiny.yaml", "--task", "val-0", code=1)
    assert "wrote neither reward.json nor reward.txt" in told["problem"]
    assert listed() == before and not list((tiny.store / "tmp").iterdir())


# The store.


def test_the_store_lists_by_what_a_rollout_is(tiny: Tiny) -> None:
    counted(tiny)
    command("eval", "my-skill", "none", "--config", "tiny.yaml", "--split", "val")
    rows = listed()
    assert len(rows) == 6 and {row["status"] for row in rows} == {"completed"}
    assert [row["finished"] for row in rows] == sorted(row["finished"] for row in rows)
    skills = {row["skill"] for row in rows} - {None}
    for words, count in (
        (["--task", "val-0"], 2),
        (["--task", "val-?"], 6),
        (["--task", "val-0", "--task", "val-1"], 4),
        (["--skill", "none"], 3),
        (["--skill", "my-skill"], 3),
        (["--skill", min(skills)[:8]], 3),
        (["--status", "completed", "--harness", "writer", "--model", "sim-1"], 6),
        (["--status", "agent_error"], 0),
        (["--model", "other"], 0),
        (["--after", "1h"], 6),
        (["--before", "1h"], 0),
        (["--before", "2199-01-01"], 6),
        ([rows[0]["key"][:12]], 1),
    ):
        assert len(listed(*words)) == count, words
    for words, message in (
        (["--before", "soon"], "--before soon"),
        (["--status", "infra_error"], "--status infra_error"),
        (["xyz"], "not the beginning of a key"),
        (["--runs", "nowhere"], "no rollouts are stored here"),
        (["--skill", "nowhere"], "nowhere"),
    ):
        refused(command("store", "list", *words), message)
    assert rows[0]["key"][:12] in command("store", "list").stdout


def test_a_wrong_score_is_forgotten_and_run_again(tiny: Tiny) -> None:
    counted(tiny)
    words = ("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    command(*words)
    assert (ran(tiny), command("store", "forget", "--task", "val-0").returncode) == (3, 1)
    assert len(listed()) == 3, "nobody has said yes"
    refused(command("store", "forget", "--yes"), "name rollouts by KEY or options, or give --all")
    done = command("store", "forget", "--task", "val-0", "--yes", "--json")
    assert len(json.loads(done.stdout)["removed"]) == 1 and len(listed()) == 2
    command(*words)
    assert ran(tiny) == 4 and len(listed()) == 3
    assert command("store", "forget", "--all", "--yes").stdout == "removed 3 rollout(s)\n"
    assert not list((tiny.store / "tmp").iterdir())


def test_a_run_that_was_forgotten_is_resumed_and_one_that_runs_is_not_touched(tiny: Tiny) -> None:
    counted(tiny, limits={"rollouts": 7})
    assert tiny.train().returncode == 4
    done = command("store", "forget", "--all", "--yes")
    assert "run tiny refers to 7 of them; if it is resumed" in done.stderr and not listed()
    tiny.write(limits={})
    assert tiny.train().returncode == 0 and tiny.summary["done"]
    started = [r for r in read_records(tiny.run) if r.kind == "run_started"][-1]
    with (tiny.run / "events.jsonl").open("a") as log:
        log.write(started.model_dump_json() + "\n")
    log_of_a_running_run = [r for r in read_records(tiny.run) if r.kind != "run_done"]
    (tiny.run / "events.jsonl").write_text(
        "".join(r.model_dump_json() + "\n" for r in log_of_a_running_run)
    )
    refused(command("store", "forget", "--all", "--yes"), "is running and refers to", "stop it")
    assert listed()


FLAWS = {
    "has no result.json": lambda folder: (folder / "result.json").unlink(),
    "not JSON": lambda folder: (folder / "result.json").write_text("{"),
    "format 7": lambda folder: changed(folder, format=7),
    "has the key": lambda folder: changed(folder, key="0" * 64),
    "not the digest of its identity": lambda folder: changed(folder, identity={"skill": "x"}),
    "which is no verdict": lambda folder: changed(folder, status="infra_error"),
    "a reward of 0.5": lambda folder: changed(folder, status="agent_error", soft=0.5),
    "not between 0 and 1": lambda folder: changed(folder, soft=2.0),
    "its soft reward 0": lambda folder: changed(folder, reward=1.0),
    "trajectory.json cannot be read": lambda folder: (
        made_plain(folder) / "trajectory.json"
    ).write_text("{"),
    "work.tar.gz cannot be read": lambda folder: (made_plain(folder) / "work.tar.gz").write_text(
        "x"
    ),
    "is missing, and wire": lambda folder: (made_plain(folder) / "wire.jsonl").write_text("{}\n"),
    "files.tar.zst: cannot be read": lambda folder: os.truncate(folder / PACKED, 200),
}


def changed(folder: Path, **values: Any) -> None:
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("message", FLAWS)
def test_what_is_wrong_with_a_stored_rollout_is_found_and_can_be_removed(
    message: str, tiny: Tiny
) -> None:
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    assert "3 rollouts, 0 problem(s)" in command("store", "verify").stdout
    row = listed()[1]
    FLAWS[message](Path(row["folder"]))
    done = command("store", "verify", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert {one["key"] for one in told} == {row["key"]}
    assert any(message in one["message"] for one in told), told
    assert command("store", "forget", row["key"], "--yes").stdout == "removed 1 rollout(s)\n"
    assert command("store", "verify").returncode == 0


def test_a_rollout_that_was_copied_elsewhere_is_noticed(tiny: Tiny) -> None:
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    folder = Path(listed()[0]["folder"])
    (tiny.store / "00").mkdir(exist_ok=True)
    shutil.copytree(folder, tiny.store / "00" / f"0{folder.name[1:]}")
    assert "it was moved or copied here" in command("store", "verify").stdout


def test_the_time_of_a_rollout_from_an_earlier_version_is_its_files(tiny: Tiny) -> None:
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    folder = Path(listed()[0]["folder"])
    changed(folder, finished=0.0)
    os.utime(folder / "result.json", (time.time() - 7200,) * 2)
    assert [row["folder"] for row in listed("--before", "1h")] == [str(folder)]


def test_a_run_whose_rollouts_are_gone_is_still_shown_and_reported(tiny: Tiny) -> None:
    assert tiny.train().returncode == 0
    assert command("store", "forget", "--all", "--yes").returncode == 0
    for words in (["show", "runs/tiny"], ["report", "runs/tiny", "-o", "page.html"]):
        done = command(*words)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
