"""The mutants of a module: by the operators of cosmic-ray that change a decision, and by our own.

A mutant changes one place. What no test should see is left out: annotations, imports for types,
``strict`` of ``zip``, decorators.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

_parse: Any = parso.parse  # Its types say less than mypy wants, where it is installed.

Position = tuple[tuple[int, int], tuple[int, int]]

_COMPARISONS = (
    "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
)
_ARITHMETIC = (
    "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitOr_BitAnd BitAnd_BitOr"
)
_OTHERS = (
    "AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd "
    "ReplaceBreakWithContinue ReplaceContinueWithBreak ExceptionReplacer NumberReplacer "
    "ZeroIterationForLoop ReplaceUnaryOperator_Delete_Not ReplaceUnaryOperator_USub_UAdd"
)
_CHOSEN = [
    *(f"ReplaceComparisonOperator_{pair}" for pair in _COMPARISONS.split()),
    *(f"ReplaceBinaryOperator_{pair}" for pair in _ARITHMETIC.split()),
    *_OTHERS.split(),
]
"""Of the 200 operators of cosmic-ray: each comparison becomes its neighbour and its opposite, each
sum a difference. The others (``<`` for ``is``, ``+`` for ``>>``) nearly always fail at once."""


class _Own(Operator):  # type: ignore[misc]
    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DropArm(_Own):
    """``a and b`` becomes ``a``, and ``b``; a condition of several arms loses one at a time."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type in ("and_test", "or_test"):
            for operand in node.children[::2]:
                yield operand.start_pos, operand.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.get_first_leaf().prefix
        first = 2 * index - 1 if index else 0
        del node.children[first : first + 2]
        node.get_first_leaf().prefix = prefix
        return node


class DropArgument(_Own):
    """A call loses one of its named arguments, and takes the default."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for argument in self._named(node):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        at = node.children.index(list(self._named(node))[index])
        if node.type == "trailer":
            del node.children[at]
        else:
            del node.children[at : at + 2]
        return node

    @staticmethod
    def _named(node: Any) -> Iterator[Any]:
        if node.type == "arglist" or (node.type == "trailer" and len(node.children) == 3):
            for child in node.children:
                named = child.type == "argument" and getattr(child.children[1], "value", "") == "="
                if named and child.children[0].value != "strict":
                    yield child


class DropCall(_Own):
    """A statement that is a call, made for what it does, becomes ``pass``."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "simple_stmt" and self._is_call(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        call = node.children[0]
        lines = call.get_code(include_prefix=False).count("\n")
        # As many lines as before, so that all others keep their numbers.
        node.children[0] = _parse(call.get_first_leaf().prefix + "pass" + " \\\n" * lines)
        return node

    @staticmethod
    def _is_call(node: Any) -> bool:
        if node.type == "yield_expr" or not hasattr(node, "children"):
            return False
        last = node.children[-1]
        awaited = node.children[0].type == "keyword" and node.children[0].value == "await"
        called = last.type == "trailer" and last.children[0].value == "("
        return node.type in ("atom_expr", "power") and (called or awaited)


class SwapName(_Own):
    """The least for the greatest, any for all, the start for the end; ``+=`` for ``-=``."""

    _PAIRS = (
        ("min", "max"),
        ("any", "all"),
        ("startswith", "endswith"),
        ("lstrip", "rstrip"),
        ("partition", "rpartition"),
        ("append", "extend"),
        ("union", "intersection"),
        ("+=", "-="),
        ("|=", "&="),
    )
    SWAPS: ClassVar = {**dict(_PAIRS), **{b: a for a, b in _PAIRS}}

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type in ("name", "operator") and node.value in self.SWAPS:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = self.SWAPS[node.value]
        return node


OWN = {"DropArm": DropArm, "DropArgument": DropArgument, "DropCall": DropCall, "SwapName": SwapName}


@dataclass(frozen=True)
class Mutant:
    """One small wrong.

    Args:
        operator: the name of what made it.
        occurrence: which of the operator's places in the module it is.
        line: where it is, from 1.
    """

    operator: str
    occurrence: int
    line: int

    @property
    def name(self) -> str:
        """Unique within the module."""
        return f"{self.operator} {self.occurrence}"

    def source(self, original: str) -> str | None:
        """The module with the wrong in it; None if that is no Python or says the same."""
        try:
            mutated = mutate_code(original, operator(self.operator), self.occurrence)
            tree = ast.dump(ast.parse(mutated or original))
        except (SyntaxError, AttributeError, IndexError):
            return None
        return mutated if tree != ast.dump(ast.parse(original)) else None


def operator(name: str) -> Operator:
    """An operator by the name that :class:`Mutant` has."""
    made = OWN[name]() if name in OWN else get_operator(f"core/{name}")()
    assert isinstance(made, Operator)
    return made


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    skipped = _unseen(source)
    found = []
    nodes = list(ast_nodes(get_ast(source)))
    for name in [*_CHOSEN, *OWN]:
        made, occurrence = operator(name), -1
        for node in nodes:
            try:
                positions = list(made.mutation_positions(node))
            except (AttributeError, IndexError):  # ``except module.Error`` confuses one of them.
                positions = []
            for (line, column), _ in positions:
                occurrence += 1
                if not any(start <= (line, column) < end for start, end in skipped):
                    found.append(Mutant(name, occurrence, line))
    return sorted(found, key=lambda one: (one.line, one.operator, one.occurrence))


_TYPING = re.compile(r"^(typing\.)?TYPE_CHECKING$")


def _unseen(source: str) -> list[Position]:
    """Where annotations, decorators and imports for types are, and what ``zip`` asserts."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.expr | ast.stmt | None] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            parts += node.decorator_list
        if isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        elif isinstance(node, ast.AnnAssign | ast.arg):
            parts.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(node.returns)
        elif isinstance(node, ast.If) and _TYPING.match(ast.unparse(node.test)):
            parts.append(node)
        for part in parts:
            if part is not None:
                end = (part.end_lineno or part.lineno, part.end_col_offset or 0)
                found.append(((part.lineno, part.col_offset), end))
    return found
