"""The optimizer model as the stages see it: a question in, a checked value out.

The implementation over the gateway is :mod:`skillopt.training.optimizer_model`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from harnesses.protocols.base import Message
from skillopt.core.errors import SkillOptError
from skillopt.optimizer.reading import UnreadableReplyError, read_fitting

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T", bound=BaseModel)
V = TypeVar("V", covariant=True)

BROKEN = "Send the corrected JSON object, whole."
CUT = (
    "It was cut off before its end. Send it again from the start and shorter: the reasoning in one "
    "or two sentences, and the most useful edits only."
)

Send = Callable[[Sequence[Message]], str]
Note = Callable[[str], None]


class OptimizerReplyError(SkillOptError):
    """The reply was not what was asked for, also after it was asked for again."""


class OptimizerRefusedError(OptimizerReplyError):
    """The service refuses this prompt, and will refuse it again, for example as too long."""


class OptimizerUnavailableError(SkillOptError):
    """The optimizer's model service is down or refuses. Nothing is wrong with the run."""


class Exemplified(BaseModel):
    """A reply whose prompt ends with examples. Its JSON schema is not added to the prompt, since a
    small model would copy from the schema instead of continuing the examples."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OptimizerModel(Protocol):
    """Answers the stages' questions with checked values."""

    def ask(self, stage: str, about: str, system: str, prompt: str, schema: type[T]) -> T:
        """Ask for a reply of the given shape.

        Args:
            stage: reflect, merge, rank or repair; for accounting.
            about: the subject of the call, as in :class:`OptimizerCall`; together with the stage
                it distinguishes the calls of a step.
            system, prompt: what the model is shown.
            schema: the shape of the reply.

        Raises:
            OptimizerReplyError: the reply was malformed twice.
            OptimizerRefusedError: the service refuses the prompt.
            OptimizerUnavailableError: no reply at all.
        """


@dataclass(frozen=True)
class AskedAgain:
    """A model that is asked for another candidate: the same questions get replies of their own.

    Args:
        model: the model.
        number: the candidate's, from 2.
    """

    model: OptimizerModel
    number: int

    def ask(self, stage: str, about: str, system: str, prompt: str, schema: type[T]) -> T:
        return self.model.ask(stage, f"candidate {self.number}, {about}", system, prompt, schema)


class ParallelMap(Protocol):
    """``map``, or the ``map`` of an executor: results in the order of the items."""

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterable[B]: ...


@dataclass(frozen=True)
class OptimizerCall:
    """One optimizer call that a stage made. ``error`` is empty if its reply was usable."""

    stage: str
    about: str
    """The subject of the call, such as ``failures 1 of 3``."""
    error: str = ""


@dataclass(frozen=True)
class StageResult(Generic[V]):
    """The result of a stage, and every call that it made for it."""

    value: V
    calls: tuple[OptimizerCall, ...] = ()

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(
            f"{call.stage}: {call.about}: {call.error}" for call in self.calls if call.error
        )


def ask_with_repair(
    send: Send, system: str, prompt: str, schema: type[T], note: Note = lambda text: None
) -> T:
    """Ask, check, and ask once more with the error if no object in the reply fits the schema.

    Args:
        send: sends messages and returns the reply's text.
        system, prompt: what the model is asked.
        schema: the shape of the reply; its JSON schema is added to the prompt, as not every
            service enforces one, unless it is an :class:`Exemplified`.
        note: receives what was left out of the reply, such as an edit that does not fit.

    Raises:
        OptimizerReplyError: the second reply does not fit either.
    """
    form = "One JSON object that fits this JSON schema, and nothing else:"
    asked = f"{prompt}\n# Reply\n\n{form}\n{json.dumps(schema.model_json_schema())}\n"
    if issubclass(schema, Exemplified):
        asked = prompt
    messages = [Message("system", system), Message("user", asked)]
    reply = send(messages)
    try:
        value, notes = read_fitting(reply, schema)
    except UnreadableReplyError as error:
        again = f"That reply cannot be used: {error}\n{CUT if error.cut else BROKEN}"
        # Services refuse empty messages, so an empty reply cannot be sent back as it is.
        messages += [Message("assistant", reply.strip() or "(nothing)"), Message("user", again)]
        try:
            value, notes = read_fitting(send(messages), schema)
        except UnreadableReplyError as still:
            raise OptimizerReplyError(f"malformed reply, also when asked again: {still}") from still
    for text in notes:
        note(text)
    return value
