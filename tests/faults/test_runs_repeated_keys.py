"""A key that is written twice is refused with both lines, in each file: the first was dropped
without a word, and with it a limit (docs/faults, runs, kind 7)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny import Tiny, command, refused, tiny

__all__ = ["tiny"]
PRICES = 'date: 2026-01-01\nmodels:\n  "sim-*": {prompt: 1.0, cached: 1.0, completion: 1.0}\n'


def line_of(file: Path, text: str, last: bool = False) -> int:
    lines = file.read_text().splitlines()
    found = [number for number, line in enumerate(lines, start=1) if text in line]
    return found[-1 if last else 0]


CASES = {
    "top level": ("limits", "limits: {rollouts: 5}\nseed: 1\nlimits: {usd: 1}\n"),
    "quoted": ("seed", "seed: 1\n'seed': 2\n"),
    "nested": ("limits.rollouts", "limits:\n  rollouts: 5\n  usd: 1\n  rollouts: 500\n"),
    "in a list": ("steps", "stop:\n- kind: no_accept\n  steps: 1\n  steps: 2\n"),
    "of free names": ("sim2", "x: &x {kind: sim}\nlimits:\n  sim2: *x\n  y: 1\n  sim2: *x\n"),
    "in options": ("margin", "gate:\n  options:\n    margin: 1\n    margin: 2\n"),
}


@pytest.mark.parametrize(("key", "text"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("where", ["the config", "its base"])
def test_in_a_config(tiny: Tiny, where: str, key: str, text: str) -> None:
    whole = yaml.safe_dump({k: v for k, v in tiny.settings.items() if k not in text})
    file = tiny.put("tiny.yaml", whole + text)
    if where == "its base":
        file = file.rename("lower.yaml")
        tiny.put("tiny.yaml", "base: lower.yaml\nname: tiny\n")
    last = key.rpartition(".")[2]
    first, second = line_of(file, f"{last}"), line_of(file, last, last=True)
    done = tiny.train("--dry-run")
    refused(done, f"{file.resolve()}:{second}: ", f"in line {first}", key)
    for line in ("eval none --config tiny.yaml", "doctor --model sim-1 --config tiny.yaml"):
        refused(command(*line.split()), f"{file.resolve()}:{second}: ", f"in line {first}")


def test_in_one_line(tiny: Tiny) -> None:
    tiny.write()
    file = tiny.put("tiny.yaml", tiny.config.read_text() + "limits: {usd: 5, usd: 1, tokens: 1}\n")
    line = line_of(file, "limits")
    refused(tiny.train("--dry-run"), f":{line}: limits.usd", f"in line {line}")


def test_in_a_price_table(tiny: Tiny) -> None:
    more = '  "sim-*": {prompt: 9.0, cached: 9.0, completion: 9.0}\n'
    file = tiny.put("prices.yaml", PRICES + more)
    done = tiny.train("--dry-run", "--set", "prices=prices.yaml")
    refused(done, f"{file.resolve()}:4: ", "sim-*", "in line 3")


def test_in_a_file_of_upstreams(tiny: Tiny) -> None:
    file = tiny.put(
        "services.yaml",
        "upstreams:\n  sim: {kind: sim}\n  other: {kind: sim}\n  sim: {kind: sim}\n",
    )
    tiny.settings.pop("upstreams")
    tiny.write(base="services.yaml")
    refused(tiny.train("--dry-run"), f"{file.resolve()}:4: upstreams.sim", "in line 2")


def test_in_a_value_of_the_command_line(tiny: Tiny) -> None:
    done = tiny.train("--dry-run", "--set", "limits={rollouts: 5, usd: 1, rollouts: 500}")
    refused(done, "--set limits={", "rollouts", "in line 1")
    done = tiny.train("--dry-run", "--set", "limits={rollouts: 5}", "--set", "limits={tokens: 1}")
    refused(done, "limits", "is already set")
    done = tiny.train("--dry-run", "--set", "limits.rollouts=5", "--set", "limits={tokens: 1}")
    refused(done, "limits.rollouts", "is already set")
    refused(tiny.train("--dry-run", "--set", "limits={rollouts: 5"), "--set limits={", "not YAML")


def test_what_contains_itself_is_refused_too(tiny: Tiny) -> None:
    tiny.put("tiny.yaml", tiny.config.read_text() + "transfer: &t\n  skills: [*t]\n")
    refused(tiny.train("--dry-run"), "tiny.yaml")


def test_what_is_said_once_is_taken(tiny: Tiny) -> None:
    """The same key in different places, one config on another, and anchors, are no repetition."""
    lower = {"stages": {"gate": {"tokens": 10}, "test": {"tokens": 10}}, "rollouts": 500}
    tiny.put("lower.yaml", yaml.safe_dump({"limits": lower}))
    tiny.write(base="lower.yaml", limits={"rollouts": 400})
    tiny.put("tiny.yaml", tiny.config.read_text() + "tasks: &t {source: tasks}\n")
    with_anchor = tiny.config.read_text().replace("tasks:\n  source: tasks\n", "")
    tiny.put("tiny.yaml", with_anchor)
    done = tiny.train("--dry-run", "--set", "limits.tokens=5000", "--set", "limits.usd=1")
    assert done.returncode == 0, done.stderr
