"""The syntax tree of a function that runs, as JSON: the same whatever its comments and layout."""

from __future__ import annotations

import ast
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def tree_of(code: types.CodeType) -> Any:
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
