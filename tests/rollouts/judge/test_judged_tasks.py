"""Judged tasks from a config to a score: evaluated, trained, judged again, compared with people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.report.trajectory import rollout_view
from tests.helpers.tiny import TASK, Tiny, command, refused, tiny

__all__ = ["tiny"]

WORDS = ["It contains 'Rules'.", "It does not contain 'xyz'.", "The sky is green."]
GONE = '''
class Gone:
    """A service that is not there."""

    protocols = frozenset({"chat"})
    max_concurrency = 2

    def __init__(self, **options):
        pass

    async def send(self, call):
        from harnesses.gateway.upstreams import UpstreamError
        raise UpstreamError("nobody is at home")

    async def close(self):
        pass


def run(self, request, site, was=Writer.run):
    with open("ran.txt", "a") as file:
        file.write("x")
    return was(self, request, site)


Writer.run = run
'''


def worded(tiny: Tiny, tests: str = "", **settings: Any) -> Tiny:
    """The tiny training, whose tasks have expectations, and tests if some are given."""
    tiny.settings.pop("verifier")
    for split in ("train", "val", "test"):
        for number in range(3):
            at = tiny.task(split, f"{split}-{number}", tests).parent
            if not tests:
                (at / "test.sh").unlink()
                at.rmdir()
            more = f"[metadata]\nexpectations = {json.dumps(WORDS)}\n"
            (at.parent / "task.toml").write_text(TASK + more)
    tiny.write(judge={"upstream": "sim", "name": "sim-judge"}, **settings)
    return tiny


def scored(*words: str) -> list[dict[str, Any]]:
    done = command("eval", "my-skill", "--config", "tiny.yaml", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)[0]["tasks"]
    return found


def results(tiny: Tiny) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(tiny.store.glob("??/*/result.json"))]


def test_expectations_are_judged_and_kept_with_the_rollout(tiny: Tiny) -> None:
    worded(tiny)
    assert {one["soft"] for one in scored()} == {2 / 3}
    for result in results(tiny):
        judgement = result["judgement"]
        assert [one["met"] for one in judgement["expectations"]] == [True, True, False]
        assert judgement["model"] == "sim-judge" and judgement["usage"]["requests"] == 1
        assert result["usage"]["requests"] == 0  # The agent's own.
        assert result["identity"]["harness"]["judge"]["model"] == "sim-judge"
        assert "not met: The sky is green." in result["feedback"]
    key = results(tiny)[0]["key"]
    shown = json.loads(command("store", "show", key[:12], "--json").stdout)
    assert len(shown["judgement"]["expectations"]) == 3
    (file,) = rollout_view(tiny.store / key[:2] / key, 4000)["verifier"][-1:]
    assert file["name"] == "judge: sim-judge" and "not met: The sky is green." in file["text"]
    assert "met: It contains 'Rules'.\nreason: It is there.\nquotation: # Rules" in file["text"]


@pytest.mark.parametrize(
    ("tests", "when", "soft", "asked"),
    [
        ('echo 1 > "$VERIFIER_LOGS/reward.txt"\n', "passed", 3 / 4, True),
        ('echo 0 > "$VERIFIER_LOGS/reward.txt"\n', "passed", 0, False),
        ('echo 0 > "$VERIFIER_LOGS/reward.txt"\n', "always", 2 / 4, True),
        (
            'echo \'{"reward": 0.5, "checks": 2}\' > "$VERIFIER_LOGS/reward.json"\n',
            "passed",
            0.2,
            0,
        ),
    ],
)
def test_checks_come_first_and_need_no_model(
    tests: str, when: str, soft: float, asked: bool, tiny: Tiny
) -> None:
    worded(tiny, tests)
    tiny.write(judge__when=when)
    assert {one["soft"] for one in scored()} == {soft}
    for result in results(tiny):
        assert bool(result["judgement"]["expectations"]) == bool(asked)
        assert result["judgement"]["usage"]["requests"] == int(asked)


def test_a_judge_that_cannot_be_reached_is_no_score(tiny: Tiny) -> None:
    worded(tiny)
    tiny.own(GONE)
    tiny.write(upstreams__gone={"kind": "own:Gone"}, judge__upstream="gone", patience={"total": 0})
    done = command("eval", "my-skill", "--config", "tiny.yaml")
    refused(done, "JudgeError", "nobody is at home", code=3)
    assert not results(tiny)
    ran = (tiny.folder / "ran.txt").read_text()
    # The work is kept: another judge is asked, and no agent runs again.
    tiny.write(judge__upstream="sim", patience={"total": 20})
    assert len(scored()) == len(ran) == 3
    assert (tiny.folder / "ran.txt").read_text() == ran


def test_the_cost_of_the_judge_counts_apart(tiny: Tiny) -> None:
    worded(tiny)
    assert tiny.train().returncode == 0
    spent = tiny.summary["spent"]["stages"]
    asked = tiny.events("judge_asked")
    tokens = sum(e["usage"]["prompt_tokens"] + e["usage"]["completion_tokens"] for e in asked)
    assert spent["judge"]["tokens"] == tokens > 0 and spent["judge"]["rollouts"] == 0
    assert all(spent[stage]["tokens"] == 0 for stage in ("baseline", "rollout", "test"))
    assert f"judge: {tokens:,} tokens, $0.00" in command("show", "runs/tiny").stdout
    plan = json.loads(command("train", tiny.config, "--dry-run", "--json").stdout)
    stage = next(one for one in plan["stages"] if one["stage"] == "judge")
    assert stage["calls"] == 2 * plan["rollouts"] and stage["tokens"] > 0
    assert "is unchecked" in plan["judge"]
    assert any("is unchecked" in e["text"] for e in tiny.events("noted"))


def test_a_limit_on_the_judge_stops_the_run(tiny: Tiny) -> None:
    worded(tiny)
    tiny.write(limits={"stages": {"judge": {"tokens": 1}}}, workers=1)
    done = tiny.train()
    assert done.returncode == 4 and "limits.stages.judge.tokens" in done.stdout + done.stderr
    assert len(results(tiny)) == 1


def test_another_judge_judges_kept_work_and_the_same_one_costs_nothing(tiny: Tiny) -> None:
    worded(tiny)
    scored()
    before = results(tiny)
    done = command("rejudge", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert {(one["before"], one["after"]) for one in json.loads(done.stdout)} == {(2 / 3, 2 / 3)}
    same = results(tiny)
    assert [one["key"] for one in same] == [one["key"] for one in before]
    assert {one["judgement"]["usage"]["requests"] for one in same} == {0}
    tiny.write(judge__evidence_tokens=900)
    done = command("rejudge", "--config", "tiny.yaml", "--json")
    assert all(one["new_key"] != one["key"] for one in json.loads(done.stdout))
    assert len(scored()) == 3 and len(results(tiny)) == 6


def test_other_expectations_are_judged_on_old_work(tiny: Tiny) -> None:
    worded(tiny)
    scored()
    for file in tiny.folder.glob("tasks/*/*/task.toml"):
        file.write_text(file.read_text().replace("green", "my-skill Rules here"))
    done = command("rejudge", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(one["new_key"] != one["key"] for one in json.loads(done.stdout))


def test_rollouts_that_no_judge_judges_keep_their_address(tiny: Tiny) -> None:
    keys = {one["key"] for one in scored()}
    tiny.write(judge={"upstream": "sim", "name": "sim-judge"})
    assert {one["key"] for one in scored()} == keys
    assert all("judgement" not in result for result in results(tiny))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"upstream": "nowhere", "name": "x"}, "judge.upstream: 'nowhere' is not in upstreams"),
        ({"name": "x"}, "judge.upstream: is missing"),
        ({"upstream": "sim"}, "judge.name: is missing"),
        ({"upstream": "sim", "name": "x", "promt": "a"}, "did you mean 'prompt'"),
        ({"upstream": "sim", "name": "x", "when": "never"}, "judge.when: 'never' is not one of"),
        (
            {"upstream": "sim", "name": "x", "prompt": "no.md"},
            "prompt: no.md: cannot be read",
        ),
        ({"upstream": "sim", "name": "x", "evidence_tokens": 1}, "judge.evidence_tokens"),
        ({"upstream": "sim", "name": "x", "least_agreement": 2}, "judge.least_agreement"),
        (
            {"upstream": "sim", "name": "x", "labels": "no.csv"},
            "labels: no.csv: no such file",
        ),
        (
            {"upstream": "sim", "name": "x", "labels": "tiny.yaml"},
            "has not been compared with these labels: run 'skillopt tasks judge",
        ),
    ],
)
def test_what_is_wrong_with_a_judge_is_said_before_anything_runs(
    settings: dict[str, Any], message: str, tiny: Tiny
) -> None:
    worded(tiny)
    tiny.write(judge=settings)
    refused(tiny.train("--dry-run"), message)
    refused(tiny.train(), message)
    assert not (tiny.run / "events.jsonl").exists()


def test_without_a_judge_tasks_without_tests_are_refused(tiny: Tiny) -> None:
    worded(tiny)
    tiny.settings.pop("judge")
    tiny.write()
    refused(tiny.train("--dry-run"), "test.sh: missing")


def labels(tiny: Tiny, verdicts: list[bool], name: str = "labels.jsonl") -> Path:
    """People's verdicts on the three expectations of each stored rollout, in turn."""
    rows = [
        {"rollout": key[:12], "expectation": number, "verdict": verdict}
        for key in sorted(one["key"] for one in results(tiny))
        for number, verdict in enumerate(verdicts, start=1)
    ]
    return tiny.put(name, "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("verdicts", "kappa", "trains"),
    [
        ([True, True, False], 1.0, True),
        ([True, False, False], 0.4, False),
        ([False, False, True], -0.8, False),
        ([True, True, True], 0.0, False),
    ],
)
@pytest.mark.slow
def test_a_judge_is_compared_with_people_and_a_worse_one_does_not_train(
    verdicts: list[bool], kappa: float, trains: bool, tiny: Tiny
) -> None:
    worded(tiny)
    scored()
    file = labels(tiny, verdicts)
    done = command("tasks", "judge", "tiny.yaml", "--labels", file, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["labels"] == 9 and found["kappa"]["value"] == pytest.approx(kappa)
    recorded = json.loads(Path(f"{file}.agreement.json").read_text())
    assert recorded["format"] == 1 and recorded["kappa"] == found["kappa"]
    tiny.write(judge__labels=str(file))
    if trains:
        plan = json.loads(command("train", tiny.config, "--dry-run", "--json").stdout)
        assert "agrees with 9 of 9 labels of people: kappa 1.00" in plan["judge"]
    else:
        refused(
            tiny.train(), "judge.least_agreement: 0.6: the kappa of sim-judge", "set it to null"
        )
        shown = command("tasks", "judge", "tiny.yaml", "--labels", file).stdout
        assert "labels.jsonl:" in shown and "judge: " in shown
    tiny.write(judge__least_agreement=None)
    assert command("train", tiny.config, "--dry-run").returncode == 0
    # Another judge, or other labels, are not what was measured.
    tiny.write(judge__least_agreement=0.6, judge__evidence_tokens=900)
    refused(tiny.train("--dry-run"), "has not been compared")
    tiny.write(judge__evidence_tokens=16_000)
    file.write_text(file.read_text() + "\n")
    refused(tiny.train("--dry-run"), "has not been compared")


def test_labels_of_a_single_task_need_no_rollout(tiny: Tiny) -> None:
    worded(tiny)
    scored()
    rows = "task,expectation,verdict\n" + f'test-1,"{WORDS[2]}",unmet\ntest-1,1,met\n'
    file = tiny.put("labels.csv", rows)
    done = command("tasks", "judge", "tiny.yaml", "--labels", file)
    assert done.returncode == 0 and "2 of 2 labels" in done.stdout, done.stdout + done.stderr
    # A rollout of the same work under another judge is not another one.
    tiny.write(judge__evidence_tokens=900)
    assert command("tasks", "judge", "tiny.yaml", "--labels", file).returncode == 0
    assert command("tasks", "judge", "tiny.yaml", "--labels", file).returncode == 0


def test_what_was_not_judged_is_said(tiny: Tiny) -> None:
    worded(tiny, 'echo 0 > "$VERIFIER_LOGS/reward.txt"\n')
    scored()
    file = labels(tiny, [True])
    done = command("tasks", "judge", "tiny.yaml", "--labels", file)
    assert done.returncode == 1 and done.stdout.count("a check before it failed") == 3
    assert "no label could be compared" in done.stdout


def test_labels_are_compared_with_the_tasks_of_today(tiny: Tiny) -> None:
    worded(tiny)
    scored()
    file = labels(tiny, [True, True, True])
    assert "6 of 9 labels" in command("tasks", "judge", "tiny.yaml", "--labels", file).stdout
    for toml in tiny.folder.glob("tasks/*/*/task.toml"):
        toml.write_text(toml.read_text().replace("The sky is green.", "It contains 'description'."))
    assert "9 of 9 labels" in command("tasks", "judge", "tiny.yaml", "--labels", file).stdout


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            '{"rollout": "00000000", "expectation": 1, "verdict": "met"}',
            "no such rollout is stored",
        ),
        ('{"task": "nothing", "expectation": 1, "verdict": "met"}', "no such rollout"),
        ('{"task": "test-1", "expectation": 9, "verdict": "met"}', "'9' is none of test-1: 1: It"),
        ('{"task": "test-1", "expectation": "Hm.", "verdict": "met"}', "'Hm.' is none of test-1"),
        ('{"task": "test-1"}', "labels.jsonl:1: expectation: is missing"),
    ],
)
def test_a_label_of_nothing_that_is_stored_is_refused(rows: str, message: str, tiny: Tiny) -> None:
    worded(tiny)
    scored()
    file = tiny.put("labels.jsonl", rows)
    refused(command("tasks", "judge", "tiny.yaml", "--labels", file), message)


def test_a_task_with_several_stored_rollouts_needs_one_named(tiny: Tiny) -> None:
    worded(tiny)
    scored("--replicates", "2")
    file = tiny.put("labels.jsonl", '{"task": "test-1", "expectation": 1, "verdict": "met"}')
    refused(command("tasks", "judge", "tiny.yaml", "--labels", file), "2 rollouts are stored")


def test_a_config_without_a_judge_has_none_to_compare(tiny: Tiny) -> None:
    file = tiny.put("labels.jsonl", '{"task": "t", "expectation": 1, "verdict": "met"}')
    refused(
        command("tasks", "judge", "tiny.yaml", "--labels", file), "judge: the config names none"
    )
    refused(command("tasks", "judge", "tiny.yaml"), "--labels")
    refused(command("tasks", "judge", "no.yaml", "--labels", file), "no.yaml")
