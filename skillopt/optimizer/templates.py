"""The optimizer's prompts: Markdown templates with strict variables; a folder can override them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta

from skillopt.core.errors import SkillOptError
from skillopt.core.files import digest_of
from skillopt.core.skill import Skill
from skillopt.optimizer.render import fenced

OWN = Path(__file__).parent / "prompts"


class PromptError(SkillOptError):
    """A template cannot be used. The message names the file and what to do."""


class Prompts:
    """The templates of a run.

    Args:
        folder: templates that replace the project's own of the same names, for one benchmark.
        beside: the agent's other skills, which every prompt lists.

    Raises:
        PromptError: the folder is missing, or a template in it has an unknown name, is not valid,
            or uses a variable that its original does not have.
    """

    def __init__(self, folder: Path | None = None, beside: Sequence[Skill] = ()) -> None:
        self._beside = "\n".join(f"- {other.name}: {other.description}" for other in beside)
        self._environment = _environment([folder, OWN]) if folder else _own_environment()
        self.digest = ""
        """Digest of the folder's templates, by name and content; empty without a folder."""
        if folder is not None:
            _check(folder, self._environment)
            texts = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.md"))}
            self.digest = digest_of(texts)

    def render(self, name: str, **values: Any) -> str:
        """The prompt ``NAME.md`` with its variables filled in.

        Raises:
            jinja2.UndefinedError: a variable of the template is not given.
        """
        return (
            self._environment.get_template(f"{name}.md")
            .render(beside=self._beside, **values)
            .strip()
            + "\n"
        )


def _environment(folders: list[Path]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown for a model, not HTML; untrusted values are fenced.
    )
    # str() raises for a variable that is not given.
    environment.filters["fenced"] = lambda text: fenced(str(text))
    return environment


@cache  # With it the compiled templates, which differ in no run.
def _own_environment() -> jinja2.Environment:
    return _environment([OWN])


def _check(folder: Path, environment: jinja2.Environment) -> None:
    if not folder.is_dir():
        raise PromptError(f"{folder}: no such folder of prompts (optimizer.prompts)")
    own = _own_environment()
    known = sorted(path.name for path in OWN.glob("*.md"))
    for path in sorted(folder.glob("*.md")):
        if path.name not in known:
            close = difflib.get_close_matches(path.name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
            raise PromptError(f"{path}: no prompt has this name; {hint}")
        try:
            used = set(_variables(environment, path.name))
        except jinja2.TemplateSyntaxError as error:
            where = f"{error.filename or path}:{error.lineno}"
            raise PromptError(f"{where}: not a valid template: {error.message}") from error
        except (jinja2.TemplateError, UnicodeDecodeError, RecursionError) as error:
            raise PromptError(f"{path}: not a valid template: {error}") from error
        unknown = sorted(used - set(_variables(own, path.name)))
        if unknown:
            given = ", ".join(sorted(_variables(own, path.name)))
            raise PromptError(f"{path}: unknown variable {', '.join(unknown)}; available: {given}")


def _variables(environment: jinja2.Environment, name: str) -> Iterator[str]:
    """The variables of a template and of those that it includes."""
    assert environment.loader is not None
    source = environment.loader.get_source(environment, name)[0]
    tree = environment.parse(source, filename=name)
    yield from jinja2.meta.find_undeclared_variables(tree)
    for included in jinja2.meta.find_referenced_templates(tree):
        if included is not None:
            yield from _variables(environment, included)
