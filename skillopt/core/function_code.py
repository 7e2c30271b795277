"""What the code of a function says, as JSON, and which variables it refers to.

The code is the syntax tree in its file, the same whatever its comments and layout, if the file is
what runs; else what it was compiled to.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import itertools
import types
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
COLLECTING = ("append", "add", "extend", "insert", "update", "setdefault", "put")
"""Methods by which a function collects in a variable what it has seen."""


def cells(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables that a function has captured, with their values."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue


@lru_cache(1024)
def instructions(code: types.CodeType) -> tuple[tuple[str, str], ...]:
    """Operations and the names that they use, also of functions inside; relative imports with
    their dots."""
    return tuple(_instructions(code))


def _instructions(code: types.CodeType) -> Iterator[tuple[str, str]]:
    found = list(dis.get_instructions(code))
    for place, one in enumerate(found):
        if one.opname == "IMPORT_NAME":
            level = found[place - 2].argval  # Two constants come before: this and the names.
            yield one.opname, "." * (level if isinstance(level, int) else 0) + str(one.argval)
        elif isinstance(one.argval, str) and not one.opname.endswith("CONST"):
            yield one.opname, one.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _instructions(inner)


def inputs(code: types.CodeType, variables: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The variables that a function does not assign, and no containers that it collects in: these
    are its state."""
    found = instructions(code)
    collected = {
        name
        for (load, name), (_, method) in itertools.pairwise(found)
        if load in ("LOAD_GLOBAL", "LOAD_DEREF") and method in COLLECTING
    }
    assigned = {name for store, name in found if store in ("STORE_GLOBAL", "STORE_DEREF")}
    for name, value in variables:
        collects = name in collected and isinstance(value, list | set | dict | deque)
        if name not in assigned and not collects:
            yield name, value


def code_shape(code: types.CodeType) -> Any:
    """JSON that is equal for functions that do the same, as far as their own code says."""
    tree = _tree_of(code)
    if tree is not None:
        return ["tree", tree]
    return [
        "code", hashlib.sha256(code.co_code).hexdigest(), [_constant(c) for c in code.co_consts],
        code.co_names, code.co_varnames, code.co_freevars,
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
    ]  # fmt: skip


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return code_shape(value)
    if isinstance(value, frozenset):
        return ["frozenset", sorted(map(repr, value))]
    if isinstance(value, tuple):
        return ["tuple", [_constant(each) for each in value]]
    return [type(value).__name__, repr(value)]


def _tree_of(code: types.CodeType) -> Any:
    """The tree of a function in its file; None if the file is not what runs.

    Args:
        code: the function's compiled code. The file is compiled and has to contain the same: it
            may have changed since it was imported.
    """
    try:
        file = Path(code.co_filename)
        status = file.stat()
        source = _read(str(file), status.st_mtime_ns, status.st_size)
    except (OSError, SyntaxError, ValueError):
        return None
    codes, nodes = source
    if code not in codes.get(code.co_firstlineno, ()):
        return None
    found = [node for node in nodes.get(code.co_firstlineno, ()) if _name(node) == code.co_name]
    return _shape(found[0]) if len(found) == 1 else None


@lru_cache(64)
def _read(
    file: str, changed: int, size: int
) -> tuple[dict[int, list[types.CodeType]], dict[int, list[_Function]]]:
    """The compiled functions of a file and their trees, by first line; read again when it has
    ``changed``."""
    text = Path(file).read_bytes()
    codes: dict[int, list[types.CodeType]] = {}
    pending = [compile(text, file, "exec", dont_inherit=True)]
    while pending:
        code = pending.pop()
        codes.setdefault(code.co_firstlineno, []).append(code)
        pending += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    nodes: dict[int, list[_Function]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _Function):
            decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
            first = min([node.lineno, *(each.lineno for each in decorators)])
            nodes.setdefault(first, []).append(node)
    return codes, nodes


def _name(node: _Function) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _shape(node: object) -> Any:
    """A node without positions and empty fields, which differ between versions of Python."""
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        if isinstance(node, ast.Constant):
            return ["Constant", repr(node.value)]
        return [type(node).__name__, {name: _shape(value) for name, value in fields.items()}]
    if isinstance(node, list):
        return [_shape(each) for each in node]
    return repr(node)
