"""Whether what the documents' prose names in backticks exists: see test_identifiers.

Names are looked up in the source of the three packages, config keys in the models, commands and
options in the command line, paths on disk. What is of no known form is not checked.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from keyword import iskeyword
from typing import Annotated, Any, Literal, get_args, get_origin

import click
import yaml
from pydantic import BaseModel, JsonValue

from skillopt.cli import main
from skillopt.config.schema import Config
from tests.helpers.documents import FENCE, ROOT
from tests.helpers.trees import nodes

PACKAGES = ("skillopt", "harnesses", "sandboxes")
PROGRAMS = ("docker", "git", "kill", "pip")
"""Of others: what their arguments mean is not checked."""
READERS_OWN = re.compile(r"my[-_]|path/to/|runs/[a-z]|https?:")
SUFFIXES = r"\.(cast|csv|jsonl?|md|py|sh|toml|txt|ya?ml)$"
WORD = r"[A-Za-z_][\w-]*"


def spans(markdown: str) -> list[str]:
    """The code in the prose of a document, without its blocks."""
    found = re.findall(r"`([^`]+)`", FENCE.sub("", markdown))
    return [" ".join(span.split()) for span in found]


def exists(span: str) -> bool | None:
    """Whether what a span names is there; None when it is of no form that can be checked."""
    if READERS_OWN.match(span):
        return None
    first = span.split()[0]
    if first.startswith("--"):
        return all(flag in options(main) for flag in _flags(span))
    if first == "skillopt" and first != span:
        return _command(shlex.split(span)[1:])
    if first == "make" and first != span:
        words = re.findall(r"^(?:\.PHONY:)?([\w -]+?) *[:?]", _text("Makefile"), re.MULTILINE)
        return all(word.partition("=")[0] in words for word in span.split()[1:])
    if module := re.match(r"(?:\S*python )?-m ([\w.]+)", span):
        return importlib.util.find_spec(module[1]) is not None
    if extra := re.fullmatch(r"skillopt-harness\[(\w+)\]", span):
        return (
            extra[1] in tomllib.loads(_text("pyproject.toml"))["project"]["optional-dependencies"]
        )
    if first in PROGRAMS or (" " in span and not re.match(r"[\w.]+[:(]", span)):
        return None
    if re.match(r"[a-z_]+(\.[a-z_]+)*:( |$)", span):
        return _setting(span)
    if call := re.fullmatch(r"([\w.]+)\((.*)\)", span):
        return _call(call[1], call[2])
    if "/" in span or re.search(SUFFIXES, span):
        return _path(span)
    if re.fullmatch(r"[\w-]+(\.[\w-]+)+", span):
        return span in source().constants or _dotted(span)
    if re.fullmatch(WORD, span):
        return _word(span)
    return None


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


class Source:
    """What the packages' source defines and says, docstrings and comments aside."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        """Of classes, functions, arguments, attributes, variables."""
        self.members: dict[str, set[str]] = {}
        """The same inside of each class."""
        self.bases: dict[str, set[str]] = {}
        self.constants: set[str] = set()
        """Strings."""
        for package in PACKAGES:
            for file in (ROOT / package).rglob("*.py"):
                self._read(ast.parse(file.read_text("utf-8")))
        self.parts = {part for text in self.constants for part in text.split("/")}

    def _read(self, tree: ast.Module) -> None:
        every = nodes(tree)
        docstrings = {node.value for node in every if isinstance(node, ast.Expr)}
        for node in every:
            self.names.update(_defined(node))
            if isinstance(node, ast.ClassDef):
                inside = {name for below in node.body for n in nodes(below) for name in _defined(n)}
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                self.members.setdefault(node.name, set()).update(inside)
                self.bases.setdefault(node.name, set()).update(bases - {node.name})
            elif isinstance(node, ast.Constant) and node not in docstrings:
                self.constants.add(str(node.value))

    def has(self, name: str, member: str) -> bool:
        """Whether a class has a member, of its own or by its bases."""
        own = self.members.get(name, set())
        return member in own or any(self.has(base, member) for base in self.bases.get(name, ()))


def _defined(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.arg():
            yield node.arg
        case ast.Name(ctx=ast.Store()):
            yield node.id
        case ast.Attribute(ctx=ast.Store()):
            yield node.attr


@cache
def source() -> Source:
    return Source()


@cache
def commands(group: click.Command) -> dict[str, click.Command]:
    if not isinstance(group, click.Group):
        return {}
    found = {name: group.get_command(click.Context(group), name)
             for name in group.list_commands(click.Context(group))}  # fmt: skip
    return {name: command for name, command in found.items() if command is not None}


@cache
def options(command: click.Command) -> frozenset[str]:
    """Of a command and of those below it."""
    own = [option for parameter in command.params for option in parameter.opts]
    below = [option for c in commands(command).values() for option in options(c)]
    return frozenset([*own, *below, "--help", "--version"])


def _flags(text: str) -> list[str]:
    return re.findall(r"(?<!\S)--[\w-]+", text)


def _command(words: list[str]) -> bool:
    command: click.Command = main
    while words and commands(command) and not words[0].startswith("-"):
        if words[0] not in commands(command):
            return False
        command, words = commands(command)[words[0]], words[1:]
    return all(flag in options(command) for flag in _flags(" ".join(words)))


def _setting(span: str) -> bool:
    """``key: value``, from the top of a config, or from any of its sections."""
    key, _, value = span.partition(":")
    if key == "base":  # Of any file; it is gone when the models see the rest.
        return True
    content = yaml.safe_load(value.replace("…", "9") or "null")
    return any(_accepts(found, content) for found in _keys(key))


def _keys(path: str) -> list[Any]:
    """The types of a config's key, which is that of any section if it has no dots."""
    first, *others = path.split(".")
    found = list(_below(Config, first))
    if not others:
        found += [t for section in _sections() for t in _below(section, first)]
    for key in others:
        found = [below for annotation in found for below in _below(annotation, key)]
    return found


@cache
def _sections() -> tuple[type[BaseModel], ...]:
    found = [Config]
    for model in found:  # It grows.
        for field in model.model_fields.values():
            found += [m for m in _models(field.annotation) if m not in found]
    return tuple(found)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _below(annotation: Any, key: str) -> Iterator[Any]:
    """The types that a key of a value of some type can have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if key in annotation.model_fields:
            yield annotation.model_fields[key].annotation
    elif get_origin(annotation) is dict:
        yield get_args(annotation)[1]
    elif get_origin(annotation) is Annotated:
        yield from _below(get_args(annotation)[0], key)
    elif annotation in (Any, JsonValue):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _below(part, key)


def _accepts(annotation: Any, value: Any) -> bool:
    """Whether the keys in a value, and its words where there is a list of them, are known."""
    if isinstance(value, dict):
        return all(any(_accepts(b, v) for b in _below(annotation, k)) for k, v in value.items())
    if isinstance(value, list):
        return all(_accepts(annotation, item) for item in value)
    words = list(_words(annotation))
    return not words or not isinstance(value, str) or value in words


def _words(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    for part in get_args(annotation):
        yield from _words(part)


def _call(name: str, arguments: str) -> bool:
    if "." not in name:
        return name in source().names
    found = resolve(name)
    if found is None:
        return False
    given = re.findall(r"\b[a-z_]+\b", arguments)
    return set(given) <= set(inspect.signature(found).parameters)


def resolve(path: str) -> Any:
    """The object of a dotted name; None when there is none. Fields without a default are their
    annotations."""
    module, *names = path.split(".")
    found: Any = importlib.import_module(module)
    for name in names:
        module = f"{module}.{name}"
        if hasattr(found, name):
            found = getattr(found, name)
        elif inspect.ismodule(found) and importlib.util.find_spec(module) is not None:
            found = importlib.import_module(module)
        elif name in getattr(found, "__annotations__", {}):
            found = found.__annotations__[name]
        else:
            return None
    return found


def _dotted(span: str) -> bool:
    first, *others = span.split(".")
    if first in PACKAGES:
        return resolve(span) is not None
    if list(_keys(span)):
        return True
    if first in source().members:
        return len(others) == 1 and source().has(first, others[0])
    known = source().names | source().constants
    return first not in Config.model_fields and {first, *others} <= known


@cache
def run_files() -> set[str]:
    """The names in the table of a run's files; ``{one,two}.json`` are two of them."""
    section = _text("docs/design.md").partition("## A run's files")[2].partition("\n## ")[0]
    table = re.findall(r"```text\n(.*?)```", section, re.DOTALL)[0]
    groups = re.findall(r"\{([\w,]+)\}(\.\w+)", table)
    names = [name + suffix for inner, suffix in groups for name in inner.split(",")]
    return {*names, *re.findall(r"[\w.]+", table)}


def _path(span: str) -> bool:
    if span.startswith("build/"):
        return False  # Made by make, or not.
    pattern = re.sub(r"\b[A-Z]{3,}(?=\b|_)", "*", span.strip("/"))
    if not span.startswith("/") and any(ROOT.glob(pattern)):
        return True
    parts = [part for part in span.split("/") if part not in ("", "~", "*", "…")]
    known = source().parts | run_files()
    return not span.endswith(".py") and all(
        part in known or re.fullmatch(r"\$[A-Z_]+|[A-Z]{3,}", part) for part in parts
    )


def _word(word: str) -> bool:
    """A word by itself is a name of the source, or a value or key, which is a string there."""
    found = source()
    return (
        word in found.names or word in found.constants or word in other_names() or iskeyword(word)
    )


@cache
def other_names() -> set[str]:
    """Packages, commands, and the names of configs and benchmarks."""
    files = [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "benchmarks").glob("*.py")]
    return {*PACKAGES, *commands(main), *(file.stem for file in files)}
