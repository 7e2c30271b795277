"""What identifies a user's own part: two that may judge differently never look the same."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from skillopt.core.import_path import PluginError
from skillopt.core.part_identity import identity_of
from skillopt.core.types import Reward
from skillopt.gates.strict import StrictGate

Judge = Callable[..., Reward]


def of(part: Any) -> str:
    return identity_of(part, "verifier")


def scaled(task: Any, workspace: Any, answer: Any, factor: float = 1.0) -> Reward:
    return Reward(factor)


class Scale:
    def __init__(self, factor: float, **others: Any) -> None:
        self.factor = factor
        self.__dict__.update(others)
        self.calls = 0

    def __call__(self, task: Any, workspace: Any, answer: Any) -> Reward:
        self.calls += 1
        return Reward(self.factor)

    def judge(self, task: Any, workspace: Any, answer: Any) -> Reward:
        return self(task, workspace, answer)


@dataclass(frozen=True)
class Frozen:
    factor: float
    words: list[str] = field(default_factory=list)

    def __call__(self, task: Any, workspace: Any, answer: Any) -> Reward:
        return Reward(self.factor)


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, task: Any, workspace: Any, answer: Any) -> Reward:
        return Reward(self.factor)


class Pair(NamedTuple):
    one: float
    two: float

    def __call__(self, task: Any, workspace: Any, answer: Any) -> Reward:
        return Reward(self.one)


def closure(value: Any) -> Judge:
    def judge(task: Any, workspace: Any, answer: Any) -> Reward:
        return Reward(float(bool(value)))

    return judge


def writing(log: Any) -> Judge:
    def judge(task: Any, workspace: Any, answer: Any) -> Reward:
        log.add(task)
        return Reward(1.0)

    return judge


def with_default(value: float) -> Judge:
    return lambda task, workspace, answer, value=value: Reward(value)


def decorated(function: Judge) -> Judge:
    @functools.wraps(function)
    def outer(*args: Any) -> Reward:
        return function(*args)

    return outer


def from_prompt(value: float) -> Judge:
    space: dict[str, Any] = {"Reward": Reward}
    exec(f"def judge(task, workspace, answer):\n    return Reward({value})", space)
    made: Judge = space["judge"]
    return made


MAKERS: dict[str, Callable[[float], Any]] = {
    "an argument of a partial": lambda v: functools.partial(scaled, factor=v),
    "a partial of a partial": lambda v: functools.partial(functools.partial(scaled, factor=v)),
    "an attribute": Scale,
    "an attribute of the object of a method": lambda v: Scale(v).judge,
    "a dataclass": Frozen,
    "a list in a dataclass": lambda v: Frozen(1.0, [str(v)]),
    "slots": Slotted,
    "a named tuple": lambda v: Pair(v, v),
    "a captured value": closure,
    "a captured object": lambda v: closure(Scale(v)),
    "a captured function": lambda v: closure(with_default(v)),
    "a captured class": lambda v: closure(type("Made", (), {"factor": v})),
    "a captured path": lambda v: closure(Path(f"/data/{v}")),
    "a captured namespace": lambda v: closure(SimpleNamespace(a=v)),
    "captured bytes": lambda v: closure(str(v).encode()),
    "a captured set": lambda v: closure({v, "a"}),
    "a captured queue": lambda v: closure(deque([v])),
    "a captured counter": lambda v: closure(Counter({"a": int(v)})),
    "a captured dict": lambda v: closure({"a": {"b": v}}),
    "a default": with_default,
    "what a decorator wraps": lambda v: decorated(closure(v)),
    "code without a file": from_prompt,
    "a partial in an attribute": lambda v: Scale(1, other=functools.partial(scaled, factor=v)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_bound_values_count(name: str) -> None:
    make = MAKERS[name]
    assert of(make(0.0)) == of(make(0.0))
    assert of(make(0.0)) != of(make(1.0))


def test_what_a_part_counts_and_collects_is_its_state() -> None:
    seen: list[Any] = []
    count = 0

    def judge(task: Any, workspace: Any, answer: Any) -> Reward:
        nonlocal count
        count += 1
        seen.append(task)
        return Reward(1.0)

    counted = Scale(1.0)
    before = of(judge), of(counted)
    judge("task", None, "")
    counted("task", None, "")
    assert (of(judge), of(counted)) == before and seen and count and counted.calls


OWN = '''
import helpers
from helpers import lenient as friendly
LIMIT = 1
RULES = {"words": ["a"]}
def near(value):
    return value + LIMIT
def judge(task, workspace, answer):
    """Says yes."""
    return near(len(RULES["words"])) + helpers.strict(1) + friendly(2)
def late(task, workspace, answer):
    from later import add
    return add(1)
def other():
    return 0
class Base:
    floor = 0
class Own(Base):
    def __call__(self, task, workspace, answer):
        return self.floor
'''
HELPERS = (
    "def strict(x):\n    return x\ndef lenient(x):\n    return deep(x)\ndef deep(x): return x\n"
)
LATER = "def add(x):\n    return x + STEP\nSTEP = 1\n"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """The module ``own``, imported anew after a replacement in it or in its helpers."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported(old: str = "", new: str = "") -> Any:
        for name, text in (("own", OWN), ("helpers", HELPERS), ("later", LATER)):
            (tmp_path / f"{name}.py").write_text(text.replace(old, new) if old else text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("own")

    yield imported
    for name in ("own", "helpers", "later"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+ friendly(2)", "- friendly(2)"),
        ("value + LIMIT", "value - LIMIT"),
        ("LIMIT = 1", "LIMIT = 2"),
        ('"words": ["a"]', '"words": ["b"]'),
        ("def strict(x):\n    return x", "def strict(x):\n    return -x"),
        ("def deep(x): return x", "def deep(x): return -x"),
    ],
)
def test_an_edit_of_what_a_function_refers_to_makes_another_one(
    library: Callable[..., Any], old: str, new: str
) -> None:
    before = of(library().judge)
    assert of(library(old, new).judge) != before
    assert of(library().judge) == before


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("late", "x + STEP", "x - STEP"),
        ("late", "STEP = 1", "STEP = 2"),
        ("Own", "floor = 0", "floor = 1"),
        ("Own", "self.floor", "-self.floor"),
    ],
)
def test_an_edit_of_what_is_imported_late_or_inherited_does_too(
    library: Callable[..., Any], part: str, old: str, new: str
) -> None:
    before = of(getattr(library(), part))
    assert of(getattr(library(old, new), part)) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return near(", "    # The sum.\n\n    return near("),
        ("def other():\n    return 0", "def other():\n    return 1"),
        ("import helpers\n", "import helpers\n\n\n"),
    ],
)
def test_comments_layout_and_what_it_does_not_use_change_nothing(
    library: Callable[..., Any], old: str, new: str
) -> None:
    before = of(library().judge)
    assert of(library(old, new).judge) == before


def test_a_file_that_has_changed_since_does_not_hide_what_runs(
    library: Callable[..., Any], tmp_path: Path
) -> None:
    module = library()
    before = of(module.judge)
    (tmp_path / "own.py").write_text(OWN.replace("+ friendly(2)", "- friendly(2)"))
    stale = of(module.judge)
    assert stale == of(module.judge)
    assert of(importlib.reload(module).judge) not in (before, stale)


@pytest.mark.slow
def test_every_process_finds_the_same(tmp_path: Path, library: Callable[..., Any]) -> None:
    here = [of(library().judge), of(library().Own()), of(library().late)]
    code = (
        "import json, own; from skillopt.core.part_identity import identity_of as of\n"
        "print(json.dumps([of(p, 'verifier') for p in (own.judge, own.Own(), own.late)]))"
    )
    for seed in ("1", "2"):
        env = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == here


def test_a_version_counts_in_place_of_code_and_values() -> None:
    one, other = Scale(0.0, version="3", client=open), Scale(1.0, version="3")
    assert of(one) == of(other) == f"{__name__}:Scale@3"
    assert of(Scale(1.0, version="4")) != of(other)


def test_what_cannot_be_identified_needs_a_version(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        for part, where in (
            (Scale(1.0, log=file), "verifier: .*Scale: its attribute 'log' is an object of"),
            (closure(file), "its variable value is an object of _io.TextIOWrapper"),
            (functools.partial(scaled, factor=file), "an argument of it"),
            (Scale(1.0, all={"deep": [file]}), r"its attribute 'all'\['deep'\]\[0\] is an object"),
            (closure("x" * 20_000_000), "too large"),
            (closure(iter([])), "list_iterator"),
            (writing(file), "its variable log is an object of _io.TextIOWrapper"),
        ):
            with pytest.raises(PluginError, match=where) as caught:
                of(part)
            assert "give the part an attribute 'version'" in str(caught.value)
        assert identity_of(Scale(1.0, log=file), "harness.name", versioned=True)
    assert of(Scale(1.0, lock=Lock())) == of(Scale(1.0, lock=Lock()))


def test_parts_that_refer_to_themselves_are_identified() -> None:
    one, other = Scale(1.0), Scale(2.0)
    for part in (one, other):
        part.__dict__["me"] = part
        part.__dict__["my_own"] = part.judge
    assert of(one) != of(other)


def test_the_projects_own_parts_are_known_by_name_and_values() -> None:
    assert of(StrictGate) == "skillopt.gates.strict:StrictGate"
    assert of(StrictGate(block=2)) != of(StrictGate(block=4))
