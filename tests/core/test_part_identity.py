"""What identifies a user's own part: two that may judge differently never look the same."""

from __future__ import annotations

import functools
import importlib
import json
import logging
import math
import re
import subprocess
import sys
import threading
import types
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple, Optional
from uuid import UUID

import pytest
from numpy import array
from pydantic import BaseModel

from harnesses.base import Usage
from skillopt.core import part_identity
from skillopt.core.import_path import PluginError
from skillopt.core.part_identity import identity_of, part_name
from skillopt.core.types import Reward
from skillopt.gates.strict import StrictGate
from skillopt.run.journal import LogReader

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
import dataclasses
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
@dataclasses.dataclass(frozen=True)
class Data:
    factor: int = 1
    def __call__(self, task, workspace, answer):
        return self.factor
def attribute(task):
    return task.later.add(1)
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
        ("Data", "self.factor", "-self.factor"),
        ("Data", "factor: int = 1", "factor: int = 2"),
    ],
)
def test_an_edit_of_what_is_imported_late_or_inherited_does_too(
    library: Callable[..., Any], part: str, old: str, new: str
) -> None:
    before = of(getattr(library(), part))
    assert of(getattr(library(old, new), part)) != before


def test_a_module_of_the_name_of_an_attribute_is_another_thing(
    library: Callable[..., Any],
) -> None:
    before = of(library().attribute)
    assert of(library("x + STEP", "x - STEP").attribute) == before


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
    made = [functools.partial(StrictGate, block=block) for block in (2, 4)]
    assert of(made[0]) != of(made[1]) and of(made[0]).startswith(
        "skillopt.gates.strict:StrictGate#"
    )


def test_a_part_of_the_standard_library_is_known_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = of(json.dumps)
    monkeypatch.setattr(json, "_default_encoder", json.JSONEncoder(indent=3))
    assert of(json.dumps) == before


class JudgeSaid(BaseModel):
    word: int

    def __init__(self, word: int) -> None:
        super().__init__(word=word)


class Colour(Enum):
    RED = 1
    BLUE = 2


def a_class(**members: Any) -> type:
    return type("Made", (), members)


def enumeration(value: int) -> Any:
    return Enum("Made", {"ONE": value, "TWO": 5}).ONE  # type: ignore[attr-defined]


def remembered(function: Any) -> Any:
    return functools.lru_cache(function)


def slotted(*slots: str, **values: Any) -> Any:
    made = type("Made", (), {"__slots__": slots[0] if len(slots) == 1 else slots})()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def attributed(**values: Any) -> Judge:
    made = closure(1)
    vars(made).update(values)
    return made


def by_keyword(value: Any) -> Judge:
    def judge(task: Any, workspace: Any, answer: Any, *, factor: Any = value) -> Reward:
        return Reward(factor)

    return judge


PROPERTY: Any = property
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), (1, "1"), ("1", b"1"), (None, NotImplemented),
        (b"1", b"2"), ("a", "b"), (1, 2), (1j, 2j), (range(2), range(3)),
        (slice(1), slice(2)), (date(2026, 1, 1), date(2026, 1, 2)), (time(1), time(2)),
        (Decimal("1.0"), Decimal("1.00")), (Fraction(1, 2), Fraction(1, 3)), (Path("a"), Path("b")),
        (UUID(int=1), UUID(int=2)), (list[int], list[str]), (int | str, int | None),
        (Any, Optional), ([1, 2], [2, 1]), ([1], (1,)), ((1, 2), (1, 3)), ({1, 2}, {1, 3}),
        (frozenset({1}), frozenset({2})), ({1}, frozenset({1})), ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}), (deque([1]), deque([2])), (Counter(a=1), Counter(a=2)),
        (SimpleNamespace(a=1), SimpleNamespace(a=2)), (SimpleNamespace(a=1), SimpleNamespace(b=1)),
        (Reward(1.0), Reward(0.5)), (StrictGate(block=2), StrictGate(block=4)),
        (Usage(1), Usage(2)), (JudgeSaid(1), JudgeSaid(2)),
        (re.compile("a"), re.compile("b")), (re.compile("a"), re.compile("a", re.I)),
        (math, json), (logging.getLogger("a"), logging.getLogger("b")),
        (Scale(1, version="1"), Scale(1, version="2")),
        (Colour.RED, Colour.BLUE), (enumeration(1), enumeration(2)),
        (len, max), ("a".join, "b".join), ([1].append, [2].append), (math.sqrt, math.sin),
        (str.join, str.split), (str.join, bytes.join), (Decimal.sqrt, Decimal.exp),
        ((1).__add__, (2).__add__),
        (int.__dict__["real"], types.FunctionType.__dict__["__code__"]),
        (remembered(closure(1)), remembered(closure(2))),
        (functools.partial(scaled, 1), functools.partial(scaled, 2)),
        (functools.partial(closure(1), a=1), functools.partial(closure(1), b=1)),
        (Scale(1).judge, Scale(2).judge), (Scale(1).judge, Scale(1).__call__),
        (Scale, Frozen), (Scale, int), (int, str), (Lock(), threading.Event()),
        (a_class(a=1), a_class(a=2)), (a_class(a=1), a_class(b=1)),
        (a_class(x=property(closure(1))), a_class(x=property(closure(2)))),
        (a_class(x=PROPERTY(len, closure(1))), a_class(x=PROPERTY(len, closure(2)))),
        (a_class(x=PROPERTY(len, None, closure(1))), a_class(x=PROPERTY(len, None, closure(2)))),
        (a_class(x=functools.cached_property(closure(1))),
         a_class(x=functools.cached_property(closure(2)))),
        (a_class(x=staticmethod(closure(1))), a_class(x=staticmethod(closure(2)))),
        (a_class(x=classmethod(closure(1))), a_class(x=classmethod(closure(2)))),
        (a_class(x=staticmethod(closure(1))), a_class(x=classmethod(closure(1)))),
        (a_class(x=closure(1)), a_class(x=closure(2))),
        (type("Made", (a_class(a=1),), {}), type("Made", (a_class(a=2),), {})),
        (slotted("a", a=1), slotted("a", a=2)), (slotted("a", "b", b=1), slotted("a", "b", b=2)),
        (slotted("a", "b", a=1), slotted("a", "b", b=1)),
        (attributed(a=1), attributed(a=2)), (by_keyword(1), by_keyword(2)),
        (attributed(version="1"), attributed(version="2")),
        (array([1.0], "f"), array([2.0], "f")), (array([1.0], "f"), array([0x3F800000], "i")),
        (array([1.0, 2.0], "f"), array([1.0, 2.0], "f").reshape(2, 1)),
    ],
)  # fmt: skip
def test_different_values_make_different_parts(one: Any, other: Any) -> None:
    assert of(closure(one)) == of(closure(one))
    assert of(closure(one)) != of(closure(other))
    assert of(closure([one, one])) == of(closure([one, one]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"x", "y", "z"}, {"z", "y", "x"}),
        (Lock(), Lock()), (threading.local(), threading.local()), (threading.Event(), None),
        (attributed(__wrapped__=1), attributed(__wrapped__=2)),
        (attributed(version="1", a=1), attributed(version="1", a=2)),
        (a_class(__doc__="a"), a_class(__doc__="b")), (a_class(), a_class()),
        (slotted("a"), slotted("a")), (math.sqrt, math.sqrt), (str.join, str.join),
        (b"1", bytearray(b"1")), (b"1", memoryview(b"1")), (re.compile("a"), re.compile("a")),
        (Scale(1, version="1"), Scale(2, version="1")), (logging.getLogger("a"),) * 2,
        (LogReader(Path("a")), LogReader(Path("b"))),
    ],
)  # fmt: skip
def test_what_acts_the_same_is_the_same_part(one: Any, other: Any) -> None:
    if other is None:  # Set or not, an event is no input.
        other = type(one)()
        other.set()
    assert of(closure(one)) == of(closure(other))


def test_a_part_is_named_by_its_class_or_function() -> None:
    here = __name__
    for part in (scaled, functools.partial(functools.partial(scaled, factor=1))):
        assert part_name(part) == f"{here}:scaled"
    assert part_name(Scale(1)) == part_name(Scale) == f"{here}:Scale"
    assert part_name(Scale(1).judge) == f"{here}:Scale.judge"
    assert (part_name(str.lower), part_name(Decimal.exp)) == (
        "builtins:str.lower",
        "decimal:Decimal.exp",
    )
    assert of(str.lower).startswith("builtins:str.lower#")
    assert re.fullmatch(rf"{here}:scaled#[0-9a-f]{{16}}", of(scaled))


@pytest.mark.parametrize(
    ("version", "counts"),
    [("1", "@1"), (2, "@2"), (1.5, "@1.5"), ("", ""), (0, "@0"), (None, ""), ([1], "")],
)
def test_a_version_is_a_text_or_a_number(version: Any, counts: str) -> None:
    found = of(Scale(1.0, version=version))
    assert found == f"{__name__}:Scale@1"[:-2] + counts if counts else "#" in found


def test_what_a_part_says_of_itself_may_stand_for_its_values(tmp_path: Path) -> None:
    one, other = Scale(1.0), Scale(2.0)
    assert identity_of(one, "k", values=False) == identity_of(other, "k", values=False) == of(Scale)
    with (tmp_path / "file").open("w") as file:
        loose = [identity_of(Scale(v, log=file), "k", versioned=True) for v in (1.0, 2.0)]
    assert loose[0] != loose[1], "what can be identified counts all the same"


class Runs:
    """Its methods assign attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def run(self) -> None:
        self.ran = 1

    def decide(self) -> None:
        self.decided = 1

    def configure(self) -> None:
        self.configured = 1


@pytest.mark.parametrize(
    ("name", "counts"), [("ran", False), ("decided", False), ("configured", True), ("other", True)]
)
def test_what_a_part_assigns_when_it_is_called_is_its_state(name: str, counts: bool) -> None:
    assert (of(Runs(**{name: 1})) != of(Runs(**{name: 2}))) is counts


@pytest.mark.parametrize(
    ("method", "arguments", "container", "counts"),
    [
        ("append", "1", [], False), ("extend", "[1]", [], False), ("insert", "0, 1", [], False),
        ("add", "1", set(), False), ("update", "{1: 1}", {}, False),
        ("setdefault", "1, 1", {}, False), ("append", "1", deque(), False),
        ("index", "1", [], True), ("get", "1", {}, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["global", "captured"])
def test_a_container_that_a_function_collects_in_is_its_state(
    method: str, arguments: str, container: Any, counts: bool, where: str
) -> None:
    code = f"def judge(task):\n    seen.{method}({arguments})\n    return task\n"
    if where == "captured":
        code = "def outer(seen):\n" + "".join(f"    {line}\n" for line in code.splitlines())
        code += "    return judge\njudge = outer(seen)\n"
    found = []
    for content in (container, type(container)([(1, 1)] if container == {} else [(1, 2)])):
        space: dict[str, Any] = {"seen": content}
        exec(code, space)
        found.append(of(space["judge"]))
    assert (found[0] != found[1]) is counts


def test_a_variable_that_is_not_assigned_yet_is_left_out() -> None:
    def judge(task: Any) -> Any:
        return later

    before = of(judge)
    later = 1
    assert of(judge) != before

    def others(value: int) -> Judge:
        def judge(task: Any, workspace: Any, answer: Any) -> Any:
            return early, value

        if value > 9:
            early = 0
        return judge

    assert of(others(1)) == of(others(1)) != of(others(2)), "what comes after it counts"


def inherited(value: int, other: int) -> Any:
    """An object with a slot of a class above its own, and one of its own."""
    base = type("Base", (), {"__slots__": ("factor",)})
    made = type("Made", (base,), {"__slots__": ("other",)})()
    made.factor, made.other = value, other
    return made


@pytest.mark.parametrize(("value", "other"), [(2, 1), (1, 2), (2, 2)])
def test_values_in_slots_of_a_class_above_count_too(value: int, other: int) -> None:
    assert of(inherited(1, 1)) == of(inherited(1, 1)) != of(inherited(value, other))


def test_what_is_collected_in_an_attribute_of_the_same_name_is_another_thing() -> None:
    found = []
    for seen in ([], [1]):
        space: dict[str, Any] = {"seen": seen}
        exec("def judge(task):\n    task.seen.append(1)\n    return seen\n", space)
        found.append(of(space["judge"]))
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lambda t: t in {1, 2}", "lambda t: t in {1, 3}"),
        ("lambda t: t in (1, 2)", "lambda t: t in (1, 3)"),
        ("lambda t: (lambda: 1)()", "lambda t: (lambda: 2)()"),
        ("lambda t: t.a", "lambda t: t.b"),
        ("lambda t: len(t)", "lambda t: max(t)"),
        ("lambda t: t", "lambda u: u"),
        ("lambda t: t", "lambda t, /: t"),
        ("lambda t: t", "lambda *, t: t"),
        ("lambda t: 1", "lambda t: 1.0"),
        ("lambda t: 1", "lambda t: True"),
        ("lambda t: t + 1", "lambda t: t - 1"),
        ("lambda t: t", "lambda t, *u: t"),
    ],
)
def test_code_without_a_file_differs_by_what_it_does(one: str, other: str) -> None:
    assert of(eval(one, {})) == of(eval(f"{one}  # why", {}))
    assert of(eval(one, {})) != of(eval(other, {}))


def test_two_functions_of_one_line_are_told_apart() -> None:
    one, other = (lambda task: 1, lambda task: 2)  # fmt: skip
    assert of(one) != of(other)


@pytest.mark.parametrize(("values", "most"), [([1, 2, 3], 6), ([[1], [2]], 7)])
def test_a_part_has_a_largest_number_of_values(
    monkeypatch: pytest.MonkeyPatch, values: list[Any], most: int
) -> None:
    """The function, the list, what is in it, and what its code refers to."""
    part = closure(values)
    monkeypatch.setattr(part_identity, "MOST_VALUES", most)
    assert of(part)
    monkeypatch.setattr(part_identity, "MOST_VALUES", most - 1)
    with pytest.raises(PluginError, match="too large to be identified by its value"):
        of(part)
    assert identity_of(part, "k", versioned=True)


@pytest.mark.parametrize("value", ["x" * 50, b"x" * 50, bytearray(50)])
def test_a_part_has_a_largest_number_of_bytes(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(part_identity, "MOST_BYTES", 50)
    assert of(closure(value))
    assert of(closure([value])) and of(closure([value, 1]))
    for more in ([value, "x"], [value, value]):
        with pytest.raises(PluginError, match="too large"):
            of(closure(more))
        assert identity_of(closure(more), "k", versioned=True)


def test_what_is_nested_too_deeply_is_said_so() -> None:
    with pytest.raises(PluginError, match=r"verifier: .*: it is nested too deeply, so results"):
        of(closure(DEEP))


PACKAGE = {
    "own_package/__init__.py": "import own_package\n",
    "own_package/near.py": "def f(x):\n    return x + STEP\nSTEP = 1\ndef unused(): return 0\n",
    "own_package/deep/__init__.py": "LIMIT = 3\n",
    "own_package/deep/part.py": """
def one(task):
    from ..near import f
    return f(1)
def two(task):
    from .. import near
    return near.f(1)
def three(task):
    import own_package.near
    return own_package.near.f(1)
def again(task):
    import own_package.near
    return own_package.near.f(1) + own_package.own_package.near.f(2)
def four(task):
    from . import LIMIT
    return LIMIT
def five(task):
    from others_package import g
    return g(1)
def six(task):
    from no_such_package import g
    from . import no_such_module
    return g(1)
""",
    "others_package/__init__.py": "def g(x):\n    return x\n",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """``own_package.deep.part`` and another package, both installed, after a replacement."""
    root = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(root)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for name in [n for n in sys.modules if n.startswith(("own_package", "others_package"))]:
            del sys.modules[name]

    def imported(old: str = "", new: str = "") -> Any:
        for name, text in PACKAGE.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text.replace(old, new) if old else text)
        forget()
        importlib.invalidate_caches()
        return importlib.import_module("own_package.deep.part")

    yield imported
    forget()


@pytest.mark.parametrize(
    ("part", "old", "new", "counts"),
    [
        ("one", "x + STEP", "x - STEP", True),
        ("one", "STEP = 1", "STEP = 2", True),
        ("one", "unused(): return 0", "unused(): return 1", False),
        ("two", "x + STEP", "x - STEP", True),
        ("again", "x + STEP", "x - STEP", True),
        ("again", "unused(): return 0", "unused(): return 1", False),
        ("three", "x + STEP", "x - STEP", True),
        ("three", "unused(): return 0", "unused(): return 1", False),
        ("four", "LIMIT = 3", "LIMIT = 4", True),
        ("five", "return x\n", "return -x\n", False),
        ("six", "g(1)", "g(2)", True),
    ],
)
def test_a_package_that_is_installed_is_its_parts_own_and_others_are_not(
    installed: Callable[..., Any], part: str, old: str, new: str, counts: bool
) -> None:
    before = of(getattr(installed(), part))
    assert (of(getattr(installed(old, new), part)) != before) is counts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("class Made:\n    x = 1", "class Made:\n    x = 2"),
        ("class Made:\n    def f(self): return 1", "class Made:\n    def f(self): return 2"),
        ("class Made:\n    __x = 1", "class Made:\n    __x = 2"),
    ],
)
def test_a_class_without_a_module_is_the_users(one: str, other: str) -> None:
    found = []
    for code in (one, one, other):
        space: dict[str, Any] = {}
        exec(code, space)
        found.append(of(closure(space["Made"])))
    assert found[0] == found[1] != found[2]
