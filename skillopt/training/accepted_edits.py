"""The edits in a run's best skill, and the skill without one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from skillopt.core.skill import Skill
from skillopt.core.types import Edit
from skillopt.optimizer.edits import apply_edits
from skillopt.optimizer.regions import GUIDANCE, region, with_region
from skillopt.optimizer.undo import with_edits
from skillopt.run.folder import RunError
from skillopt.run.records import (
    AnyRecord,
    CompressionDone,
    CreditDone,
    EpochDone,
    RemovalDone,
    StepDone,
)
from skillopt.run.state import State, fold

Judged = StepDone | EpochDone | CompressionDone | CreditDone | RemovalDone


@dataclass(frozen=True)
class AcceptedEdit:
    """An edit that is in the best skill, unless a later one changed its text."""

    step: int
    number: int
    """Its place among the step's applied edits, or those of them that were kept, from 1."""
    edit: Edit

    @property
    def name(self) -> str:
        """``STEP.N``, by which commands name it."""
        return f"{self.step}.{self.number}"


@dataclass(frozen=True)
class Rebuilt:
    """The best skill made again without one edit."""

    skill: Skill
    dropped: tuple[AcceptedEdit, ...]
    """Later edits that do not apply without it, and are left out too."""


def accepted_edits(records: Sequence[AnyRecord]) -> list[AcceptedEdit]:
    """The edits of the accepted steps up to the best skill, in the order in which they were made,
    without those that were taken out again.

    A slow update, a shortening, and a step that rewrites the whole skill have none.
    """
    changes = [record for _, record in _accepted(records)]
    removed = {(r.of_step, r.number + 1) for r in changes if isinstance(r, RemovalDone)}
    made = [edit for record in changes for edit in _edits_of(record)]
    return [edit for edit in made if (edit.step, edit.number) not in removed]


def without(records: Sequence[AnyRecord], name: str) -> Rebuilt:
    """The best skill without one of its edits: the later ones are applied again.

    Args:
        records: the run's.
        name: ``STEP.N``, as of :attr:`AcceptedEdit.name`.

    Raises:
        RunError: there is no such edit, or a later change rewrote the whole skill.
    """
    known = accepted_edits(records)
    chosen = next((one for one in known if one.name == name), None)
    if chosen is None:
        there = ", ".join(one.name for one in known) or "none: no edit was accepted"
        raise RunError(f"no accepted edit {name}; there are {there}")
    skill: Skill | None = None
    dropped: list[AcceptedEdit] = []
    for before, record in _accepted(records):
        if skill is None and record.step < chosen.step:
            continue
        if isinstance(record, EpochDone) and skill is not None:
            skill = _guided(skill, record, records)
            continue
        if isinstance(record, RemovalDone):
            if skill is not None and record.removal is not None:
                skill = with_edits(skill, [record.removal])
            continue
        edits = [one for one in _edits_of(record) if one != chosen]
        if not _edits_of(record):
            if skill is None:  # It came before the chosen edit, in the same step.
                continue
            raise RunError(
                f"step {record.step} rewrote the whole skill after edit {name} was made, so the "
                "skill without it cannot be made again"
            )
        start = before if skill is None else skill
        skill, outcomes = apply_edits(start, [one.edit for one in edits], None, files=True)
        fates = zip(edits, outcomes, strict=True)
        dropped += [one for one, outcome in fates if not outcome.applied]
    assert skill is not None, "the chosen edit is of an accepted step"
    return Rebuilt(skill, tuple(dropped))


def _accepted(records: Sequence[AnyRecord]) -> Iterator[tuple[Skill, Judged]]:
    """The accepted changes up to the best skill, each with the skill before it."""
    best, state = fold(records).best, State()
    if not best:
        return
    for record in records:
        before = state.current
        state.apply(record)
        if not isinstance(record, Judged) or record.gate is None or not record.gate.accepted:
            continue
        if before != best:
            yield state.skills[before], record
        if state.current == best:
            return


def _edits_of(record: Judged) -> list[AcceptedEdit]:
    if isinstance(record, StepDone):
        applied = [outcome.edit for outcome in record.report if outcome.applied]
    else:
        applied = record.edits if isinstance(record, CreditDone) else []
    return [AcceptedEdit(record.step, n, edit) for n, edit in enumerate(applied, start=1)]


def _guided(skill: Skill, record: EpochDone, records: Sequence[AnyRecord]) -> Skill:
    """The skill with the guidance that a slow update wrote."""
    assert record.candidate is not None
    made = fold(records).skills[record.candidate]
    return replace(skill, body=with_region(skill.body, GUIDANCE, region(made.body, GUIDANCE)))
