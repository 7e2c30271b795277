"""What the documentation's site has beyond the Markdown files: the reference of each command, made
from the command line itself, and that of the configuration, made from its models.

Used by MkDocs (``make docs``), and by the tests.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from skillopt.cli import COMMANDS
from skillopt.config import executors, methods, schema, upstreams
from skillopt.config.schema import Config

PAGES: list[Any] = [
    {"Home": "index.md"},
    {"Quickstart": "quickstart.md"},
    {"Concepts": "concepts.md"},
    {"Configuration": "configuration.md"},
    {"Your tasks": [
        {"From a skill to a training run": "your-tasks.md"},
        {"Judged tasks": "your-tasks-judged.md"},
        {"Trigger queries": "your-tasks-triggers.md"},
    ]},
    {"Models": [
        {"Models and their services": "models.md"},
        {"Services": "services.md"},
        {"Plans in place of API keys": "accounts.md"},
        {"Any agent on any model": "translation.md"},
        {"A real local model": "local-model.md"},
    ]},
    {"Benchmarks": [
        {"The paper's benchmarks": "benchmarks.md"},
        {"The paper's protocol": "paper.md"},
    ]},
    {"Commands": [{"All commands": "commands/index.md"}]},
    {"Python": "python.md"},
    {"Extending": [
        {"Add a benchmark": "add-a-benchmark.md"},
        {"Add a gate": "add-a-gate.md"},
        {"Add a method": "add-a-method.md"},
        {"Add an executor": "add-an-executor.md"},
        {"Add a harness": "add-a-harness.md"},
        {"Add a sandbox": "add-a-sandbox.md"},
        {"Add an upstream": "add-an-upstream.md"},
    ]},
    {"Engines": "engines.md"},
    {"More than one machine": "scale.md"},
    {"Compatibility": "compatibility.md"},
    {"Design": "design.md"},
    {"Security": "security.md"},
    {"Figures": "figures.md"},
    {"Gates": "gates.md"},
    {"Mutants": "mutants.md"},
    {"Methods": "methods.md"},
    {"Statistics": "statistics.md"},
    {"Ablations": "ablations.md"},
    {"Questions": "faq.md"},
]  # fmt: skip


def on_config(config: Any) -> Any:
    """The navigation: the pages above, with one for each command."""
    commands = [{f"skillopt {name}": page_of(name)} for name in COMMANDS]
    config.nav = [
        {"Commands": [*page["Commands"], *commands]} if "Commands" in page else page
        for page in PAGES
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Pages of commands that nobody has written anything about, and the offline search's helper."""
    from mkdocs.structure.files import File

    for name in COMMANDS:
        if files.get_file_from_path(page_of(name)) is None:
            files.append(File.generated(config, page_of(name), content=f"# skillopt {name}\n"))
    folder = Path(config.config_file_path).parent
    for name in ("iframe-worker.js", "site.css"):
        files.append(File.generated(config, name, content=(folder / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page with what is made for it below what was written."""
    path = page.file.src_uri
    if path == "configuration.md":
        return f"{markdown}\n\n{configuration_reference()}"
    for name in COMMANDS:
        if path == page_of(name):
            return f"{markdown}\n\n{command_reference(name)}"
    return markdown


def page_of(command: str) -> str:
    return f"commands/{command}.md"


def command_reference(name: str) -> str:
    """Usage, help and options of a command and of the commands below it, as Markdown."""
    command = importlib.import_module(f"skillopt.cli.{name}_command").command
    return "## Reference\n\n" + "\n\n".join(_command(command, f"skillopt {name}"))


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, parent=None)
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield inspect.cleandoc(command.help or "").replace("\b\n", "")
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield f"### {path} {name}"
            yield from _command(below, f"{path} {name}")
        return
    rows = [
        option.get_help_record(context)
        for option in command.get_params(context)
        if isinstance(option, click.Option)
    ]
    table = [f"| `{row[0]}` | {_cell(row[1])} |" for row in rows if row]
    yield "\n".join(["| option | meaning |", "| --- | --- |", *table])


def configuration_reference() -> str:
    """All sections of the configuration with their keys, in the order of the models."""
    notes = _notes()
    parts = ["## Reference", "Made from the models that check a config."]
    for model, path in sections().items():
        parts.append(f"### {path or 'The top level'}")
        parts.append(_markdown(inspect.cleandoc(model.__doc__ or "")))
        parts.append(_keys(model, notes))
    return "\n\n".join(parts)


def sections() -> dict[type[BaseModel], str]:
    """The models of a config, with the dotted path at which each stands first."""
    found: dict[type[BaseModel], str] = {}

    def visit(model: type[BaseModel], path: str) -> None:
        if model in found:
            return
        found[model] = path
        for name, field in model.model_fields.items():
            for below, step in _models(field.annotation):
                kind = _kind(below)
                own = f"{name}{step}" + (f" (kind: {kind})" if kind else "")
                visit(below, f"{path}.{own}" if path else own)

    visit(Config, "")
    return found


def _models(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """The models in a type, with what stands between them and the key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
        return
    step = {dict: ".NAME", tuple: "[]"}.get(get_origin(annotation), "")  # type: ignore[arg-type]
    for part in get_args(annotation):
        for model, below in _models(part):
            yield model, step + below


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    if field is None or field.default is not PydanticUndefined:
        return ""
    return ", ".join(map(str, get_args(field.annotation)))


def _keys(model: type[BaseModel], notes: dict[str, dict[str, str]]) -> str:
    rows = ["| key | values | default | |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        note = next((notes[m.__name__][name] for m in model.__mro__
                     if name in notes.get(m.__name__, {})), "")  # fmt: skip
        values = _cell(_type(field.annotation) + _constraints(field))
        rows.append(f"| `{name}` | {values} | {_default(field)} | {_cell(_markdown(note))} |")
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, BaseModel):
        return "as below"
    if value is None or value == "":
        return "none"
    if value in ((), {}):
        return f"`{'[]' if value == () else '{}'}`"
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
    return f"`{_cell(text.lower() if isinstance(value, bool) else text)}`"


def _constraints(field: FieldInfo) -> str:
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "max_length": "at most", "min_length":
             "at least", "pattern": "like"}  # fmt: skip
    found = []
    for rule in field.metadata:
        for name, word in words.items():
            limit = getattr(rule, name, None)
            if limit is not None:
                found.append(f"{word} `{limit}`" if name == "pattern" else f"{word} {limit}")
    return f", {', '.join(found)}" if found else ""


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, ForwardRef):
        return "section"
    if origin is Annotated:
        return _type(args[0])
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(arg) for arg in args if arg is not type(None)))
    if origin is tuple and Ellipsis in args:
        return f"list of: {_type(args[0])}"
    if origin is tuple:
        return f"list of {len(args)}: {_type(args[0])}"
    if origin is dict:
        return f"mapping of {_type(args[0])} to: {_type(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {"str": "text", "int": "number", "float": "number", "bool": "`true`, `false`"}
    return names.get(annotation.__name__, annotation.__name__.lower())


def _notes() -> dict[str, dict[str, str]]:
    """The docstrings below the fields of the configuration's models."""
    found: dict[str, dict[str, str]] = {}
    trees = [
        ast.parse(inspect.getsource(module)) for module in (schema, methods, executors, upstreams)
    ]
    nodes = [node for tree in trees for node in tree.body]
    for model in (node for node in nodes if isinstance(node, ast.ClassDef)):
        own = found.setdefault(model.name, {})
        for field, below in zip(model.body, model.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                own[field.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def _markdown(docstring: str) -> str:
    """Of reStructuredText, what the docstrings use."""
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", docstring).replace("``", "`")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
