"""The base of every section of a config, strict and frozen; names of the project's own parts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from pydantic import AfterValidator, BaseModel, ConfigDict

from skillopt.core.import_path import PATH


class Section(BaseModel):
    """A mapping of known keys; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def one_of(known: Iterable[str]) -> AfterValidator:
    """Accepts one of the project's own names, or an import path."""

    def check(word: str) -> str:
        if word in known or re.match(PATH, word):
            return word
        raise ValueError(
            f"{word!r} is not one of {', '.join(known)}, nor an import path like "
            f"'my_package.module:name'{hint(word, known)}"
        )

    return AfterValidator(check)


def hint(word: str, known: Iterable[str]) -> str:
    """The nearest known word, as a question; empty if none is near."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
