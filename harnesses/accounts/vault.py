"""Where sign-ins are kept: the system's keyring, or a file that only its owner can read.

Never in a run folder, a config or an environment variable. Several processes may use one sign-in:
they take its lock before they renew it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnesses.json_values import loads
from sandboxes.errors import SkillOptError

SERVICE = "skillopt"
"""The name of the keyring's entries."""


class AccountError(SkillOptError):
    """A sign-in cannot be used, or there is none."""

    exit_code = 2


class AccountUnreachableError(AccountError):
    """The vendor's server did not answer. Another try may succeed."""

    exit_code = 3


def config_folder() -> Path:
    """``$XDG_CONFIG_HOME/skillopt``, by default ``~/.config/skillopt``; raises AccountError."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        # One that is relative is to be ignored (XDG Base Directory Specification).
        return (base if base.is_absolute() else Path.home() / ".config") / "skillopt"
    except RuntimeError as error:
        raise AccountError("there is no home directory: set HOME or XDG_CONFIG_HOME") from error


@dataclass(frozen=True)
class Vault:
    """One sign-in, which is a mapping that can be written as JSON.

    Args:
        name: of the account, such as ``chatgpt``.
        folder: for its lock, and for its file if there is no keyring.
    """

    name: str
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.json"

    def place(self) -> str:
        """Where it is, in words; empty if nowhere."""
        if self.file.is_file():
            return str(self.file)
        return "the system's keyring" if self._from_keyring() is not None else ""

    def read(self) -> dict[str, Any] | None:
        """What is kept; None if there is nothing. Raises AccountError if it cannot be read."""
        text: str | None
        try:
            # It is there only if the keyring did not take what was written last.
            _check_private(self.file)
            text = self.file.read_text("utf-8")
        except FileNotFoundError:
            text = self._from_keyring()
        except (OSError, UnicodeError) as error:
            raise AccountError(f"{self.file}: cannot be read: {error}") from error
        if text is None:
            return None
        try:
            value = loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise AccountError(
                f"the sign-in in {self.place()} is damaged: run 'skillopt login {self.name}' again"
            )
        return value

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep a value in place of the last one. It is there, whole, when this returns."""
        text = json.dumps(dict(value))
        if self._to_keyring(text):
            self.file.unlink(missing_ok=True)
            return
        try:
            self._make_folder()
            new = self.file.with_name(f".{self.file.name}.{os.getpid()}.new")
            # Private from its first byte on, and on the disk before it has the name.
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            new.replace(self.file)
        except OSError as error:
            raise AccountError(f"{self.file}: cannot be written: {error}") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one process and thread at a time, while it renews the sign-in."""
        import fcntl

        try:
            self._make_folder()
            lock = (self.folder / f"{self.name}.lock").open("w")
        except OSError as error:
            raise AccountError(f"{self.folder}: cannot be written: {error}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _from_keyring(self) -> str | None:
        keyring = _keyring()
        if keyring is None:
            return None
        try:
            found = keyring.get_password(SERVICE, self.name)
        except keyring.errors.KeyringLocked as error:
            raise AccountError(
                "the system's keyring is locked: unlock it, and start the same command again"
            ) from error
        except keyring.errors.KeyringError:
            return None  # It has no session.
        return found if isinstance(found, str) else None

    def _to_keyring(self, text: str) -> bool:
        keyring = _keyring()
        if keyring is None:
            return False
        try:
            keyring.set_password(SERVICE, self.name, text)
        except keyring.errors.KeyringError:
            return False
        return True


def _keyring() -> Any:
    """The module ``keyring``, if it has a place to keep anything in; None without."""
    try:
        import keyring
        import keyring.errors

        backend = keyring.get_keyring()
    except (ImportError, AttributeError, RuntimeError):
        return None  # Without the package, or with a backend that is not there or does not work.
    return keyring if getattr(backend, "priority", 0) > 0 else None


def _check_private(file: Path) -> None:
    """Raise AccountError if others may read a file."""
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise AccountError(
            f"{file}: others may read it (mode {mode:o}): run 'chmod 600 {file}', and sign in "
            "again if somebody else uses this machine"
        )
