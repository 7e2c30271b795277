"""What every module of tests keeps to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.documents import ROOT
from tests.helpers.trees import nodes

MODULES = sorted((ROOT / "tests").rglob("*.py"))
PREDICATES = {"is_dir", "is_file", "exists", "is_symlink", "startswith", "endswith", "is_alive",
              "is_set", "called_once", "called_with", "called_once_with", "has_calls"}  # fmt: skip
"""Methods, or what looks like one of a mock, that are true as long as nobody calls them."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """The modules of tests that one imports, also within functions."""
    for node in nodes(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}:{node.lineno}: give the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.slow
def test_no_test_imports_from_another_test() -> None:
    """What more than one module of tests needs belongs into tests/helpers."""
    found = {
        f"{name_of(path)}: {name}"
        for path in MODULES
        for name in imported(path)
        if name.startswith("tests.")
        if any(part.startswith("test_") or part == "conftest" for part in name.split("."))
    }
    assert not found


def always(test: ast.expr) -> bool:
    """Whether a condition holds whatever the program does: a path, a tuple, a method uncalled."""
    match test:
        case ast.Constant(value):
            return bool(value)
        case ast.Tuple(elts=found) | ast.List(elts=found) | ast.Set(elts=found):
            return bool(found)
        case ast.JoinedStr() | ast.Lambda() | ast.GeneratorExp():
            return True
        case ast.BinOp(op=ast.Div()) | ast.Call(func=ast.Name("Path")):  # paths
            return True
        case ast.Attribute(attr=name):
            return name in PREDICATES
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(map(always, parts))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(map(always, parts))
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            return ast.dump(left) == ast.dump(right) and not has_call(left)
        case ast.Compare(
            left=ast.Call(func=ast.Name("len")), ops=[ast.GtE()], comparators=[ast.Constant(0)]
        ):
            return True
        case ast.Call(
            func=ast.Name("all" | "any"), args=[ast.GeneratorExp(elt=one) | ast.ListComp(elt=one)]
        ):
            return always(one)
    return False


def has_call(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Call) for inner in nodes(node))


def raises(item: ast.withitem) -> bool:
    """Whether something must be raised within, not in some rows of a table alone."""
    manager = item.context_expr
    return isinstance(manager, ast.Call) and "raises" in ast.unparse(manager.func)


def cannot_fail(tree: ast.Module) -> Iterator[int]:
    """The lines of assertions that hold always, are never reached, or are none."""
    for node in nodes(tree):
        match node:
            case ast.Assert(ast.BoolOp(op=ast.And(), values=parts)):
                yield from (part.lineno for part in parts if always(part))
            case ast.Assert(test):
                yield from [node.lineno] * always(test)
            case ast.Expr(ast.Compare() | ast.BoolOp()):
                yield node.lineno
            case ast.Expr(ast.Call(func=ast.Name("all" | "any" | "isinstance"))):
                yield node.lineno
            case ast.Expr(ast.Call(func=ast.Attribute(attr=name))) if name in PREDICATES:
                yield node.lineno
            case ast.With(items, body) if any(map(raises, items)):
                # What follows the line that raises is not run.
                yield from (line.lineno for line in body if isinstance(line, ast.Assert))


@pytest.mark.slow
def test_every_assertion_can_fail() -> None:
    found = [f"{name_of(path)}:{line}" for path in MODULES
             for line in cannot_fail(tree_of(path))]  # fmt: skip
    assert not found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("assert all((run / row['key']) for row in rows)", True),
        ("assert all((run / row['key']).is_dir() for row in rows)", False),
        ("assert done and (run / 'summary.json').is_file", True),
        ("assert service.called_once", True),
        ("assert (found, 'nothing was found')", True),
        ("assert found or f'{name} was not found'", True),
        ("assert found == ['a']", False),
        ("assert found == found", True),
        ("assert read(text) == read(text)", False),
        ("assert len(found) >= 0", True),
        ("found == ['a']", True),
        ("all(row.done for row in rows)", True),
        ("with pytest.raises(OSError):\n    read(text)\n    assert found", True),
    ],
)
def test_one_that_cannot_fail_is_found(line: str, found: bool) -> None:
    assert bool(list(cannot_fail(ast.parse(line)))) is found
