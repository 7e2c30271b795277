"""Takes secrets out of what is kept: text, and everything in a folder.

A secret that a sandbox holds can be written by whatever runs there, in plain or encoded. Found is
what is there in one piece, or wrapped into lines as by ``base64``: plain, reversed, in hexadecimal,
percent-encoded, or in base64 at any place of a text; in any of these also as UTF-16.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote

SHOWN = b"[removed-secret]"
"""What is there in place of a secret, repeated or cut to its length: places in a file that other
parts of it refer to stay where they are."""
_LEAST = 8
"""Shorter values are no secrets, and would be found everywhere."""
_CHUNK = 1 << 20
_BETWEEN = rb"(?:[\s\0]|\\{1,4}(?:[nrt]|u00[0-2][0-9a-fA-F])){0,16}"
"""What may stand between two characters: a line's end, as it is or as an escape in JSON, or spaces;
or the other byte of UTF-16."""
_BETWEEN_BYTES = 16 * 9


class Scrubber:
    """Takes some secrets out.

    Args:
        secrets: to take out; empty for a scrubber that changes nothing.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _LEAST for form in _forms(secret)}
        # The longest first, as a form may have another one in it.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(_wrapped, ordered))) if ordered else None
        self._longest = (1 + _BETWEEN_BYTES) * max(map(len, ordered), default=0)

    def __bool__(self) -> bool:
        return self._pattern is not None

    def __repr__(self) -> str:
        return f"Scrubber(secrets={'yes' if self else 'no'})"

    def raw(self, data: bytes) -> bytes:
        """Bytes without the secrets, of the same length."""
        return self._pattern.sub(_masked, data) if self._pattern else data

    def text(self, text: str) -> str:
        """A text without the secrets."""
        if self._pattern is None:
            return text
        return self.raw(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def folder(self, folder: Path) -> None:
        """Take the secrets out of all files in a folder, and out of their names. A link whose
        target has one is removed; no link is followed. Closed folders of this user are opened for
        that. What is nested deeper than a path can be long stays: nobody can read it by its path.
        Raises OSError."""
        if self._pattern is None or not folder.is_dir():
            return
        _open_folders(folder)
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in (*files, *folders):
                try:
                    self._entry(Path(parent) / name)
                except OSError as error:
                    if error.errno != errno.ENAMETOOLONG:
                        raise

    def _entry(self, path: Path) -> None:
        if path.is_symlink():
            if self._found(os.fsencode(path.readlink())):
                path.unlink()
                return
        elif path.is_file():
            self._file(path)
        name = os.fsencode(path.name)
        if self._found(name):
            new = path.with_name(os.fsdecode(self.raw(name)))
            numbers = count(2)
            while os.path.lexists(new):  # No other entry is replaced.
                new = path.with_name(f"{SHOWN.decode()}-{next(numbers)}")
            path.rename(new)

    def _found(self, data: bytes) -> bool:
        return self._pattern is not None and self._pattern.search(data) is not None

    def _file(self, path: Path) -> None:
        """Change a file where it has a secret, and nowhere else."""
        status = path.stat(follow_symlinks=False)
        readable = os.access(path, os.R_OK)
        if not readable:
            path.chmod(0o600)
        places = list(self._places(path))
        if places:
            if not os.access(path, os.W_OK):
                path.chmod(0o600)
            with path.open("r+b") as file:
                for at, mask in places:
                    file.seek(at)
                    file.write(mask)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        if path.stat(follow_symlinks=False).st_mode != status.st_mode:
            path.chmod(status.st_mode & 0o7777)

    def _places(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """The offsets of the secrets in a file, with what belongs there."""
        assert self._pattern is not None
        with path.open("rb", buffering=0) as file:
            for start, end in _written(file.fileno()):
                held, at = b"", start
                while at < end and (chunk := os.pread(file.fileno(), min(_CHUNK, end - at), at)):
                    held, at = held + chunk, at + len(chunk)
                    for found in self._pattern.finditer(held):
                        yield at - len(held) + found.start(), _masked(found)
                    held = held[-(self._longest - 1) :]


def _open_folders(root: Path) -> None:
    """Give this user all rights to its folders in a folder, from the top down."""
    for parent, folders, _ in os.walk(root):
        for path in (Path(parent) / name for name in folders):
            with suppress(OSError):  # It is another user's, and stays as it is.
                mode = path.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                    path.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def _written(file: int) -> Iterator[tuple[int, int]]:
    """The parts of an open file that are not holes: an agent can make a file of any length."""
    size, end = os.fstat(file).st_size, 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # ENXIO: the rest is a hole.
            return
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


NOTHING = Scrubber()
"""Changes nothing."""


def _masked(found: re.Match[bytes]) -> bytes:
    size = len(found[0])
    return (SHOWN * (size // len(SHOWN) + 1))[:size]


def _wrapped(form: bytes) -> bytes:
    """The pattern of a form, which may be wrapped into lines."""
    return _BETWEEN.join(re.escape(bytes([character])) for character in form)


def _forms(secret: str) -> Iterator[bytes]:
    """The forms in which a secret is looked for."""
    plain = secret.encode()
    yield plain
    yield plain[::-1]
    yield quote(secret, safe="").encode()
    for text in (plain.hex(), plain.hex().upper()):
        yield text.encode()
    for shift in range(3):
        # In a longer text its first and last characters also depend on what stands beside it.
        whole = base64.b64encode(b"\0" * shift + plain)
        first = -(-shift * 8 // 6)
        last = (shift + len(plain)) * 8 // 6
        inner = whole[first:last]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")
