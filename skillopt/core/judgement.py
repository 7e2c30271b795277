"""A model's verdict on what a task says in words about its result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from harnesses.base import Usage


class JudgedExpectation(BaseModel):
    """One expectation with its verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expectation: str
    met: bool
    quote: str = ""
    """The passage of the agent's work that the judge quotes; it exists if ``doubt`` is empty."""
    reason: str = ""
    """The judge's reason, in its own words."""
    doubt: str = ""
    """Why the last verdict is in doubt; such an expectation is not met."""
    asked: int = 1
    """How often the judge was asked."""


class Judgement(BaseModel):
    """A judge's verdict on one rollout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Name of the judge's model."""
    expectations: tuple[JudgedExpectation, ...] = ()
    """In the order of the task; empty if the judge was not asked, because a check before it
    failed, or if it gave no verdict."""
    usage: Usage = Usage()
    """What this judgement has cost; nothing where its replies were recorded before."""

    @property
    def met(self) -> int:
        """How many expectations are met."""
        return sum(one.met for one in self.expectations)

    @property
    def words(self) -> str:
        """Each verdict with its reason and quotation, for people."""
        return "\n\n".join(map(_words, self.expectations))


def _words(one: JudgedExpectation) -> str:
    lines = [f"{'met' if one.met else 'not met'}: {one.expectation}"]
    lines += [f"reason: {one.reason}"] if one.reason else []
    lines += [f"quotation: {one.quote}"] if one.quote else []
    lines += [f"in doubt: {one.doubt}"] if one.doubt else []
    return "\n".join([*lines, *(["asked twice"] if one.asked > 1 else [])])
