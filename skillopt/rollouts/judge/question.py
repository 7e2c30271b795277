"""The question that a judge is asked: its template, which a user may replace, and its rules, which
stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2
import jinja2.meta

from skillopt.core.files import digest_of
from skillopt.core.types import Task
from skillopt.optimizer.render import fenced
from skillopt.optimizer.templates import PromptError
from skillopt.rollouts.judge.evidence import Evidence
from skillopt.rollouts.judge.field import field, quoted

OWN = Path(__file__).parent / "prompts"
VARIABLES = ("instruction", "expected_output", "expectations", "evidence")
"""What a template is given."""
REQUIRED = frozenset({"expectations", "evidence"})


@dataclass(frozen=True)
class Question:
    """What a judge is shown."""

    system: str
    prompt: str


@dataclass(frozen=True)
class Template:
    """The template of a judge's prompt.

    Args:
        text: in Jinja's language, with the variables of :data:`VARIABLES`.
    """

    text: str

    @property
    def digest(self) -> str:
        """Identifies the template with the rules, which are not a user's to change."""
        return digest_of([self.text, _own("rules.md"), _own("again.md")])

    def question(
        self,
        task: Task,
        expectations: Mapping[int, str],
        shown: Evidence,
        doubts: Mapping[int, str] | None = None,
    ) -> Question:
        """The question whether expectations are met.

        Args:
            task: whose they are.
            expectations: by number.
            shown: of the agent's work.
            doubts: why verdicts on them could not be used, in this project's words: nothing of a
                reply comes into another question, as it may quote the agent.
        """
        prompt = _compiled(self.text).render(
            instruction="\n\n".join(task.prompts),
            expected_output=task.expected_output,
            expectations=[(number, quoted(text)) for number, text in expectations.items()],
            evidence=field(shown.value).text,
        )
        if doubts:
            again = _compiled(_own("again.md")).render(doubts=list(doubts.items()))
            prompt = f"{prompt.strip()}\n\n{again}"
        return Question(_own("rules.md").strip(), prompt.strip() + "\n")


def read_template(file: Path | None) -> Template:
    """The template in a user's file, checked; by default the project's.

    Raises:
        PromptError: there is no such file, or it is not a template with the variables that it
            needs.
    """
    if file is None:
        return Template(_own("judge.md"))
    try:
        text = file.read_text("utf-8")
        used = jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
    except jinja2.TemplateSyntaxError as error:
        where = f"{file}:{error.lineno}"
        raise PromptError(f"{where}: not a valid template: {error.message}") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise PromptError(f"judge.prompt: {file}: cannot be read: {error}") from error
    if unknown := sorted(used - set(VARIABLES)):
        raise PromptError(
            f"{file}: unknown variable {', '.join(unknown)}; available: {', '.join(VARIABLES)}"
        )
    if missing := sorted(REQUIRED - used):
        raise PromptError(f"{file}: does not use {', '.join(missing)}; put it in, as {{{{ … }}}}")
    template = Template(text)
    try:
        template.question(_TRIED, {1: "It is done."}, Evidence({}))
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise PromptError(f"{file}: not a valid template: {error}") from error
    return template


def expectations_of(task: Task) -> tuple[str, ...]:
    """The statements about a task's result that a judge decides on: its expectations, or the
    description of the right result if that is all it has."""
    if task.expectations or not task.expected_output.strip():
        return task.expectations
    return (f"The result is as described: {task.expected_output.strip()}",)


def _own(name: str) -> str:
    return (OWN / name).read_text("utf-8")


@lru_cache(8)
def _compiled(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown for a model, not HTML; what agents made is in its field.
    )
    found.filters["fenced"] = lambda text: fenced(str(text))
    return found


_ENVIRONMENT = _environment()
_TRIED = Task(name="tried", instruction="Do it.", digest="")


def shown_numbers(expectations: Sequence[str]) -> dict[int, str]:
    """Expectations by number, from 1."""
    return dict(enumerate(expectations, start=1))
