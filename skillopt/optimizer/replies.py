"""The shapes of the optimizer's replies.

Services are asked for every field, and those that an edit does not need are empty strings. Of what
they send, ``needed`` must be there (:mod:`skillopt.optimizer.reading`). The class docstrings are
part of the JSON schemas in the prompts.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from skillopt.core.types import Edit, EditKind


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    needed: ClassVar[tuple[str, ...]] = ()
    """The fields without which a reply says nothing."""


class EditReply(_Reply):
    """One edit."""

    needed: ClassVar[tuple[str, ...]] = ("kind",)

    kind: EditKind
    target: str
    content: str
    reason: str
    file: str

    def edit(self, support: int = 1) -> Edit:
        return Edit(self.kind, self.target, self.content, self.reason, support, self.file)


class FailureType(_Reply):
    """A way in which several trajectories failed."""

    needed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    count: int


class FailureReflection(_Reply):
    """On trajectories that failed."""

    needed: ClassVar[tuple[str, ...]] = ("edits",)

    failure_types: list[FailureType]
    reasoning: str
    edits: list[EditReply]


class SuccessReflection(_Reply):
    """On trajectories that succeeded."""

    needed: ClassVar[tuple[str, ...]] = ("edits",)

    patterns: list[str]
    reasoning: str
    edits: list[EditReply]


class MergedEdit(_Reply):
    """An edit that stands for one or more of those that were to be merged."""

    needed: ClassVar[tuple[str, ...]] = ("edit", "sources")

    edit: EditReply
    sources: list[int]
    """The numbers of those edits."""


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
