"""The tables of a ``task.toml``, which know their names and check the kinds of values."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from skillopt.core.errors import SkillOptError
from skillopt.tasks.compose import expand, is_variable

T = TypeVar("T")
Options = TypeVar("Options", bound=BaseModel)

_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}


class TaskError(SkillOptError):
    """A task cannot be used. The message names the file, the key and what to do."""


def read_toml(file: Path) -> Table:
    """The whole file as a table.

    Raises:
        TaskError: it is missing, or no TOML.
    """
    try:
        return Table(file, "", tomllib.loads(read_text(file)))
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{file}: not valid TOML: {error}") from error


def read_text(file: Path) -> str:
    """The content of a file of a task; raises TaskError if there is none, or it is no text."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TaskError(f"{file}: missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read as UTF-8 text: {error}") from error


def check_text(text: str, where: str) -> str:
    """A text that programs are given as an argument.

    Raises:
        TaskError: it has a zero byte, which ends an argument.
    """
    if "\0" in text:
        raise TaskError(f"{where}: has a zero byte, which no program can be given; take it out")
    return text


def checked_options(model: type[Options], given: Mapping[str, Any], place: str, of: str) -> Options:
    """Options in their model.

    Args:
        model: of the options.
        given: as a config has them.
        place: before the key in a message.
        of: what has these options.

    Raises:
        TaskError: one is not known or has a wrong value; the message names it and those there are.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(model.model_fields) or "none"
        raise TaskError(f"{place}{key}: {first['msg']}; options of {of}: {known}") from error


@dataclass(frozen=True)
class Table:
    """A table that knows its name, for error messages."""

    file: Path
    name: str
    values: dict[str, Any]

    def place(self, key: str) -> str:
        """The file and the key, as messages name them."""
        return f"{self.file}: {self.name}{key}"

    def error(self, key: str, problem: str) -> TaskError:
        return TaskError(f"{self.place(key)}: {problem}")

    def get(self, key: str, kind: type[T], default: T) -> T:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise self.error(key, f"expected {kind.__name__}, got {value!r}")
        return value

    def table(self, key: str) -> Table:
        return Table(self.file, f"{self.name}{key}.", self.get(key, dict, {}))

    def positive(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < float("inf"):
            raise self.error(key, f"expected a number above 0, got {value!r}")
        return float(value)

    def megabytes(self, key: str, old_key: str, default: int) -> int:
        """``memory_mb = 2048`` or the older ``memory = "2G"``."""
        if key in self.values or old_key not in self.values:
            return math.ceil(self.positive(key, default))
        text = self.get(old_key, str, "")
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])i?B?", text.strip(), re.IGNORECASE)
        if not match or float(match[1]) == 0:
            raise self.error(old_key, f'expected a size such as "2G", got {text!r}')
        return max(1, int(float(match[1]) * _UNITS[match[2].upper()]))

    def env(self) -> tuple[tuple[str, str], ...]:
        """The table ``env`` of this one. A variable in a value has its default, as in
        ``${KEY:-none}``: nothing of this machine's environment enters a sandbox."""
        env = self.table("env")
        values: dict[str, str] = {}
        for key in env.values:
            text = env.get(key, str, "")
            if not is_variable(key, text):
                raise env.error(key, "no variable can have this name or value")
            found = expand(text) if "${" in text else text
            if found is None:
                raise env.error(
                    key,
                    "taking values from the host's environment is not supported; write the "
                    "value, or a default as in ${NAME:-default}",
                )
            values[key] = found
        return tuple(sorted(values.items()))
