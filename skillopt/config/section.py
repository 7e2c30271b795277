"""The base of every section of a config: strict and frozen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of known keys; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
