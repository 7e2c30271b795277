"""The shapes of the optimizer's replies.

Services are asked for every field, and those that an edit does not need are empty strings. Of what
they send, ``needed`` must be there (:mod:`skillopt.optimizer.reading`). The class docstrings are
part of the JSON schemas in the prompts. ``reasoning`` comes first, so that a model that writes
without thinking before has thought when it decides.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from skillopt.core.types import Edit, EditKind

T = TypeVar("T", bound=BaseModel)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    needed: ClassVar[tuple[str, ...]] = ()
    """The fields without which a reply says nothing."""
    spare: ClassVar[tuple[str, ...]] = (
        "reasoning", "reason", "failure_types", "patterns", "runs", "count",
    )  # fmt: skip
    """Fields that are left empty if they hold something else than they should."""


class EditReply(_Reply):
    """One edit."""

    needed: ClassVar[tuple[str, ...]] = ("kind",)

    reason: str
    kind: EditKind
    target: str
    content: str
    file: str

    def edit(self, runs: tuple[str, ...] = ()) -> Edit:
        """The edit, with the rollouts that it would have helped."""
        return Edit(self.kind, self.target, self.content, self.reason, 1, self.file, runs)


class ReflectedEdit(EditReply):
    """One edit, and the numbers of the trajectories that it answers."""

    runs: list[int]


class FoundType(_Reply):
    """A type of failure or a pattern of success, and how many trajectories show it."""

    needed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    count: int


class FailureReflection(_Reply):
    """On trajectories that failed."""

    needed: ClassVar[tuple[str, ...]] = ("edits",)

    reasoning: str
    failure_types: list[FoundType]
    edits: list[ReflectedEdit]


class SuccessReflection(_Reply):
    """On trajectories that succeeded."""

    needed: ClassVar[tuple[str, ...]] = ("edits",)

    reasoning: str
    patterns: list[FoundType]
    edits: list[ReflectedEdit]


class MergedEdit(_Reply):
    """An edit that stands for one or more of those that were to be merged."""

    needed: ClassVar[tuple[str, ...]] = ("sources",)

    sources: list[int]
    """The numbers of those edits; the first gives kind, target and file."""
    content: str
    """Another wording; empty to keep the first one's."""


class Merge(_Reply):
    """Several patches made one."""

    needed: ClassVar[tuple[str, ...]] = ("edits",)

    reasoning: str
    edits: list[MergedEdit]


class Ranking(_Reply):
    """Numbers of edits, the most useful first."""

    needed: ClassVar[tuple[str, ...]] = ("order",)

    reasoning: str
    order: list[int]


class ChosenRanking(Ranking):
    """The same, with the number of edits to make left to the optimizer."""

    needed: ClassVar[tuple[str, ...]] = ("order", "count")

    count: int


class Repair(_Reply):
    """Edits in place of those that could not be applied."""

    needed: ClassVar[tuple[str, ...]] = ("edits",)

    reasoning: str
    edits: list[EditReply]


class Document(_Reply):
    """A skill's description and body, whole."""

    needed: ClassVar[tuple[str, ...]] = ("body",)

    reasoning: str
    description: str
    body: str


class Draft(Document):
    """A first skill, from a look at some tasks."""


class Rewrite(Document):
    """The skill with suggestions or lessons worked in."""


class Description(_Reply):
    """A skill's description alone."""

    needed: ClassVar[tuple[str, ...]] = ("description",)

    reasoning: str
    description: str


class MovedFile(_Reply):
    """A new file of the skill's folder, with text that was in the body."""

    needed: ClassVar[tuple[str, ...]] = ("file", "content")

    file: str
    content: str


class Compression(Document):
    """The skill with less words."""

    files: list[MovedFile] = []
    """Text that was moved out of the body, which names the file."""


class Guidance(_Reply):
    """The slow update's guidance block."""

    needed: ClassVar[tuple[str, ...]] = ("guidance",)

    reasoning: str
    guidance: str


class Notes(_Reply):
    """The optimizer's notes to itself."""

    needed: ClassVar[tuple[str, ...]] = ("notes",)

    reasoning: str
    notes: str


@cache
def offered(schema: type[T], notes: bool, files: bool) -> type[T]:
    """A reply's shape whose JSON schema offers no more than a run allows.

    Args:
        schema: the whole shape; objects of the result are of this class too.
        notes: whether edits of the kind ``note`` are offered.
        files: whether other files than ``SKILL.md`` are.
    """
    if notes and files:
        return schema

    class Offered(schema):  # type: ignore[misc, valid-type]
        @classmethod
        def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
            return _without(schema.model_json_schema(*args, **options), notes, files)

    Offered.__name__ = schema.__name__
    Offered.__doc__ = schema.__doc__
    return Offered


def _without(schema: dict[str, Any], notes: bool, files: bool) -> dict[str, Any]:
    for part in [schema, *schema.get("$defs", {}).values()]:
        own = part.get("properties", {})
        kinds = own.get("kind", {}).get("enum", [])
        if not notes and "note" in kinds:
            kinds.remove("note")
        for name in () if files else ("file", "files"):
            if own.pop(name, None) is not None and name in part.get("required", []):
                part["required"].remove(name)
    return schema
