"""What the code of a task's tests compares with: values that only someone who read it knows.

Python is parsed. Of other languages strings and numbers are found by their form, which is nearly
the same in all of them. Messages, descriptions and commands are no values.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import chain, pairwise

from skillopt.tasks.conventions import word_set

_TALK = word_set(
    "print fail skip skipif xfail log debug info warning warn error exception critical run"
    " check_call check_output popen system call exec_run add_argument argumentparser getlogger"
    " sleep subtest mark format describe it write_error puts die"
)
"""Functions whose arguments are for people or for a shell."""
_SPOKEN = word_set("msg message reason help description match err_msg label")
_COMPARED = re.compile(r"assert|equal|approx|isclose|almost|tobe|expect|contain|match", re.I)
_NAMED = re.compile(r"expect|gold|truth|answer|want|correct|reference|secret|solution", re.I)
"""Names of what holds right answers."""
_QUOTED = re.compile(
    r"\"\"\"(.*?)\"\"\"|'''(.*?)'''|\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'|`([^`]*)`", re.S
)
_NUMBER = re.compile(r"(?<![\w.])(\d[\d_]*(?:\.\d+)?)[lLfFuUdDn]{0,3}(?![\w.])")
_HEREDOC = re.compile(r"<<[-~]?\s*(['\"]?)(\w+)\1[^\n]*\n(.*?)\n\s*\2\b", re.S)
_SHELL = word_set(".sh .bash")
_LIST = re.compile(
    r"[\[{(]((?:\s*(?:\"[^\"\n]*\"|'[^'\n]*'|-?[\d.]+)\s*,){2,}[^\[\](){}]{0,80})[\])}]"
)
_COMMENT = re.compile(r"^\s*(?:#(?!!)|//|/?\*+(?:\s|/|$)|--\s|;;|%).*$", re.M)
_SAID = re.compile(
    r"\b(?:echo|printf?|println|console\.\w+|log(?:ger)?\.\w+|fmt\.\w+|t\.(?:Error|Fatal|Log)\w*"
    r"|panic!?|throw|raise|fail\w*|describe|it|test|puts|die|warn)\b[ (!]"
)
_PIPED = re.compile(r"\|\s*\w|(?<![=-])>\s*[\w$/]")


def values(source: str, suffix: str, *, writes: bool = False) -> Iterator[tuple[str, bool]]:
    """The strings and numbers of a program that it may compare something with.

    Args:
        source: the program's text.
        suffix: of its file, in lower case: ``.py``.
        writes: whether it makes a right result and checks none: what it prints is a value then.

    Yields:
        Each value as written, lines of a longer text one by one, and whether it stands in a
        comparison, as far as that can be seen.
    """
    tree = _parsed(source) if suffix == ".py" else None
    found = _of_python(tree) if tree is not None else _of_text(source, writes)
    if suffix in _SHELL:
        found = chain(found, ((match[3], False) for match in _HEREDOC.finditer(source)))
    for text, compared in found:
        for line in text.splitlines():
            if value := " ".join(line.split()):
                yield value, compared


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _of_python(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    left: list[tuple[ast.AST, bool]] = [(tree, False)]
    while left:
        node, compared = left.pop()
        if isinstance(node, ast.Constant):
            if not isinstance(node.value, bool | None):
                yield _as_text(node.value), compared
            continue
        if compared and isinstance(node, ast.List | ast.Tuple):
            yield from _sequence([text for item in node.elts for text in _item(item)])
        left.extend((child, compared or _compares(node)) for child in _children(node))


def _item(node: ast.expr) -> Iterator[str]:
    """A value in a list. A negative number is a sign and a value to the parser."""
    match node:
        case ast.Constant(value=value):
            yield _as_text(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            yield _as_text(-value)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node in which values may stand: no messages, no documentation."""
    if isinstance(node, ast.Assert):
        yield node.test
    elif isinstance(node, ast.Raise | ast.JoinedStr):
        return
    elif isinstance(node, ast.Call):
        if _called(node).lower() not in _TALK:
            yield from (node.func, *node.args)
            yield from (k.value for k in node.keywords if k.arg not in _SPOKEN)
    else:
        spoken = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        yield from () if spoken else ast.iter_child_nodes(node)


def _compares(node: ast.AST) -> bool:
    match node:
        case ast.Call():
            return _COMPARED.search(_called(node)) is not None
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return _NAMED.search(name) is not None
        case ast.Dict(keys=keys):
            named = (key.value for key in keys if isinstance(key, ast.Constant))
            return any(isinstance(name, str) and _NAMED.search(name) for name in named)
    return isinstance(node, ast.Compare)


def _called(node: ast.Call) -> str:
    function = node.func
    return getattr(function, "attr", "") or getattr(function, "id", "")


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _of_text(source: str, writes: bool) -> Iterator[tuple[str, bool]]:
    plain = _COMMENT.sub("", source)
    for match in _QUOTED.finditer(plain):
        line = plain[plain.rfind("\n", 0, match.start()) + 1 : match.start()]
        after = plain[match.end() : (plain.find("\n", match.end()) + 1) or len(plain)]
        if not writes and _SAID.search(line) and not _PIPED.search(after):
            continue
        compared = _is_compared(line, after)
        text = next(group for group in match.groups() if group is not None)
        yield re.sub(r"\\(.)", r"\1", text), compared
    for match in _LIST.finditer(plain):
        yield from _sequence([part.strip(" '\"`") for part in match[1].split(",")])
    for line in plain.splitlines():
        bare = _QUOTED.sub('""', line)
        if writes or not _SAID.search(bare) or _PIPED.search(bare):
            yield from ((number, _is_compared(bare, "")) for number in _NUMBER.findall(bare))


def _sequence(parts: list[str]) -> Iterator[tuple[str, bool]]:
    """A list as one value: the order of its items is what nobody guesses."""
    steps = set()
    if all(part.lstrip("-").isdecimal() for part in parts):
        steps = {int(b) - int(a) for a, b in pairwise(parts)}
    if len(parts) >= (5 if steps else 3) and len(steps) != 1:
        yield " ".join(parts), True


def _is_compared(before: str, after: str) -> bool:
    around = before + after
    return any(sign in around for sign in ("==", "!=", "-eq", "grep", "=~", "diff")) or bool(
        _COMPARED.search(around) or _NAMED.search(before)
    )
