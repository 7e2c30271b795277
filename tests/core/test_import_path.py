"""What an import path leads to, how it is called, and whose error an error is."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.errors import FileError, SkillOptError
from skillopt.core.files import read_json
from skillopt.core.import_path import (
    OwnCodeError,
    PluginError,
    call,
    check,
    is_ours,
    load,
    make,
    own_code,
    own_file,
    takes,
)
from skillopt.gates.strict import StrictGate

OWN = """\
class Gate:
    instances = 0
    def __init__(self, block=1, *, word=""):
        if block == 0:
            raise ValueError("no block")
        self.block, self.word = block, word
    def decide(self):
        return self.block
    class Inner:
        value = 7
class Other:
    decide = None
gate = Gate(5)
def make(block):
    return Gate(block)
def bad(block):
    return 3
number = 3
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module ``own_parts`` of a user's, and one that cannot be imported."""
    (tmp_path / "own_parts.py").write_text(OWN)
    (tmp_path / "broken_parts.py").write_text("1 / 0\n")
    (tmp_path / "lacking_parts.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in ("own_parts", "broken_parts", "lacking_parts"):
        sys.modules.pop(name, None)


def test_a_path_leads_to_a_name_or_to_a_name_in_it() -> None:
    assert load("own_parts:number", "gate") == 3
    assert load("own_parts:Gate.Inner.value", "gate") == 7


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("no_such_parts:x", PluginError, "No module named 'no_such_parts'; give an importable"),
        ("own_parts:none", PluginError, "has no attribute 'none'; give an importable"),
        ("own_parts:Gate.none", PluginError, "has no attribute 'none'"),
        ("lacking_parts:x", PluginError, "No module named 'no_such_module'"),
        ("broken_parts:x", OwnCodeError, "your own code raised ZeroDivisionError"),
    ],
)
def test_a_path_that_leads_nowhere_names_its_key(
    path: str, kind: type[PluginError], said: str
) -> None:
    with pytest.raises(kind, match=f"^gate: {path}: ") as caught:
        load(path, "gate")
    assert said in str(caught.value) and caught.value.__cause__ is not None
    assert isinstance(caught.value, OwnCodeError) == (kind is OwnCodeError)


@pytest.mark.parametrize(
    ("path", "arguments", "settings", "block", "word"),
    [
        ("own_parts:Gate", (), {}, 1, ""),
        ("own_parts:Gate", (2,), {"word": "w"}, 2, "w"),
        ("own_parts:make", (4,), {}, 4, ""),
        ("own_parts:gate", (9,), {"word": "not used"}, 5, ""),
    ],
)
def test_an_object_is_made_by_a_class_or_function_or_is_there(
    path: str, arguments: tuple[Any, ...], settings: dict[str, Any], block: int, word: str
) -> None:
    found = make(path, "gate", "decide", *arguments, **settings)
    assert (found.block, found.word) == (block, word)


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        ("own_parts:bad", (1,), "has no method 'decide'; add it"),
        ("own_parts:Other", (), "has no method 'decide'; add it"),
        ("own_parts:Gate", (1, 2, "x"), "cannot be called with int, int, str: too many positional"),
        ("own_parts:make", (), "cannot be called with nothing: missing a required argument"),
        ("own_parts:make", (), r"cannot .* 'block'; it takes \(block\)$"),
        ("own_parts:number", (), "cannot be called with nothing: 3 is not a callable object"),
    ],
)
def test_what_cannot_be_made_says_what_it_takes(
    path: str, arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(PluginError, match=f"^gate: {path}: {said}") as caught:
        make(path, "gate", "decide", *arguments)
    assert not isinstance(caught.value, OwnCodeError)


def test_settings_are_named_in_a_refusal_and_an_error_inside_is_the_users() -> None:
    gate = load("own_parts:Gate", "gate")
    with pytest.raises(PluginError, match="called with int, colour: got an unexpected keyword"):
        call(gate, "own_parts:Gate", "gate", 1, colour="red")
    with pytest.raises(OwnCodeError, match=r"^gate: p: your own code raised ValueError: no block$"):
        call(gate, "p", "gate", 0)
    with pytest.raises(OwnCodeError, match="raised TypeError"):
        call(lambda: len(3), "p", "gate")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("own_parts:Gate", ""),
        ("own_parts:gate", ""),
        ("own_parts:make", ""),
        ("own_parts:Other", "has no method 'decide'"),
        ("own_parts:number", "neither a class nor an object with 'decide'"),
        ("own_parts:none", "has no attribute"),
    ],
)
def test_a_path_is_checked_before_anything_is_made(path: str, said: str) -> None:
    if not said:
        check(path, "gate", "decide")
        return
    with pytest.raises(PluginError, match=said):
        check(path, "gate", "decide")


@pytest.mark.parametrize(
    ("function", "given", "named", "said"),
    [
        (lambda a, b: 0, ("a", "b"), (), ""),
        (lambda a, b: 0, ("a",), ("b",), ""),
        (lambda *a, **b: 0, ("a", "b"), ("c",), ""),
        (dict, ("a",), (), ""),  # It has no signature.
        (lambda a: 0, ("a", "b"), (), r"does not take \(a, b\), with which it is called: too many"),
        (lambda a: 0, ("a",), ("c",), r"does not take \(a, c=\), .* unexpected keyword"),
        (lambda a, b: 0, ("a",), (), "missing a required argument: 'b'"),
        (3, (), (), "gate: 3 is not a function, nor can it be called as one"),
    ],
)
def test_a_function_that_takes_other_arguments_is_refused(
    function: Any, given: tuple[str, ...], named: tuple[str, ...], said: str
) -> None:
    if not said:
        takes(function, "gate", *given, named=named)
        return
    with pytest.raises(PluginError, match=said):
        takes(function, "gate", *given, named=named)


def test_a_refused_function_is_named() -> None:
    class Called:
        def __call__(self) -> None: ...

    with pytest.raises(PluginError, match=r"gate: .*Called\(\) -> 'None' does not take \(a\)"):
        takes(Called(), "gate", "a")
    with pytest.raises(PluginError, match=r"gate: test_a_refused_function_is_named\(\)"):
        takes(test_a_refused_function_is_named, "gate", "a")


def raises(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def reads_a_file() -> None:
    read_json(Path("/no/such/file"), 1)


def opens_a_file() -> None:
    with open("/no/such/file"):
        pass


def uses_the_library() -> None:
    Path("/no/such/file").read_text()


@pytest.mark.parametrize(
    ("function", "part", "passing", "kind"),
    [
        (raises(ValueError("x")), None, (), OwnCodeError),
        (raises(SystemExit(2)), None, (), OwnCodeError),
        (raises(KeyboardInterrupt()), None, (), KeyboardInterrupt),
        (raises(FileError("x")), None, (), FileError),
        (raises(ImportError("x")), None, (ImportError,), ImportError),
        (raises(ImportError("x")), None, (ValueError,), OwnCodeError),
        (raises(ValueError("x")), StrictGate, (), ValueError),
        (raises(ValueError("x")), "skillopt.gates", (), ValueError),
        (raises(ValueError("x")), "own_parts", (), OwnCodeError),
        # Errors of files are the project's if one of its functions met them, and else the user's.
        (reads_a_file, None, (), FileNotFoundError),
        (opens_a_file, None, (), OwnCodeError),
        (uses_the_library, None, (), OwnCodeError),
    ],
)
def test_an_error_is_the_users_unless_the_project_met_it(
    function: Callable[[], None], part: Any, passing: tuple[Any, ...], kind: type[BaseException]
) -> None:
    with pytest.raises(kind) as caught, own_code("gate", part, passing):
        function()
    assert type(caught.value) is kind
    if kind is OwnCodeError:
        assert str(caught.value).startswith("gate: your own code raised ")
        assert not isinstance(caught.value.__cause__, SkillOptError)


@pytest.mark.parametrize(
    ("path", "calls"), [("Gate", ["__init__"]), ("make", ["make", "__init__"])]
)
def test_a_traceback_begins_in_the_users_code(path: str, calls: list[str]) -> None:
    with pytest.raises(OwnCodeError) as caught:
        make(f"own_parts:{path}", "gate", "decide", 0)
    told = caught.value.traceback
    head, first, *_ = told.splitlines()
    assert head == "Traceback (most recent call last):" and "own_parts.py" in first
    assert [line.rpartition(" in ")[2] for line in told.splitlines() if " in " in line] == calls
    assert told.endswith("ValueError: no block\n")
    assert OwnCodeError("x").traceback == ""


def test_a_traceback_without_the_users_code_has_the_error_alone() -> None:
    error = OwnCodeError("x")
    error.__cause__ = ValueError("my words")
    assert error.traceback == "ValueError: my words\n"


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/home/me/own.py", True),
        ("<stdin>", True),
        (str(Path(types.__file__)), False),
        ("/home/me/.venv/lib/python3.12/site-packages/x/y.py", False),
        ("/usr/lib/python3/dist-packages/x.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("<frozen runpy>", False),
        (sys.modules["skillopt"].__file__ or "", False),
        (sys.modules["harnesses"].__file__ or "", False),
    ],
)
def test_whose_a_file_of_code_is(file: str, own: bool) -> None:
    assert own_file(file) is own


@pytest.mark.parametrize(
    ("part", "ours"),
    [
        ("skillopt.gates", True), ("harnesses", True), ("sandboxes.base", True),
        ("skillopt_more", False), ("own.skillopt", False), (StrictGate, True),
        (StrictGate(block=2), True), (3, False), (raises, False), (None, False),
    ],
)  # fmt: skip
def test_whose_a_part_is(part: Any, ours: bool) -> None:
    assert is_ours(part) is ours
