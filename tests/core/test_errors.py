"""An error of the file system says what to do, and ends with its own exit code."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from skillopt.core.errors import FileError, PausedError, SkillOptError, file_error, file_errors

PERMISSIONS = "check its permissions, or choose a place that can be written"


@pytest.mark.parametrize(
    ("number", "kind", "code", "advice"),
    [
        (errno.ENOSPC, PausedError, 3, "the disk is full: free some space. No work is lost"),
        (errno.EDQUOT, PausedError, 3, "the disk is full: free some space. No work is lost"),
        (errno.EROFS, FileError, 2, "; choose a place that can be written"),
        (errno.EACCES, FileError, 2, PERMISSIONS),
        (errno.EPERM, FileError, 2, PERMISSIONS),
        (errno.EISDIR, FileError, 2, "a file is expected there, and it is a folder"),
        (errno.ENOTDIR, FileError, 2, "a folder is expected there, and it is a file"),
        (errno.EEXIST, FileError, 2, "it already exists"),
        (errno.ENOENT, FileError, 2, "; check the path"),
        (errno.ENAMETOOLONG, FileError, 2, "choose a shorter name"),
        (errno.EMFILE, FileError, 2, "raise the limit on open files"),
        (errno.EIO, FileError, 2, "; check that path"),
    ],
)
def test_each_kind_of_error_has_its_advice(
    number: int, kind: type[SkillOptError], code: int, advice: str
) -> None:
    raised = OSError(number, os.strerror(number), "/some/place")
    with pytest.raises(kind) as caught, file_errors():
        raise raised
    assert caught.value.exit_code == code and caught.value.__cause__ is raised
    said = str(caught.value)
    assert said.startswith(f"/some/place: {os.strerror(number)}") and advice in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("gone"), "gone; check that path"),
        (OSError(errno.ENOENT, "No such file"), "No such file; check the path"),
        (OSError(errno.ENOENT, "No such file", b"/a\xff"), "/a\udcff: No such file;"),
        (OSError(errno.ENOENT, "No such file", Path("/a")), "/a: No such file;"),
        (OSError(errno.EIO, "Input/output error", 7), "Input/output error; check that path"),
        (OSError(errno.EIO, "", "/a"), "/a: [Errno 5] "),
    ],
)
def test_what_an_error_does_not_know_is_left_out(error: OSError, said: str) -> None:
    assert str(file_error(error)).startswith(said)


def test_a_reader_that_has_gone_is_no_error_of_a_file() -> None:
    with pytest.raises(BrokenPipeError), file_errors():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    with file_errors():
        pass
    with pytest.raises(ValueError), file_errors():
        raise ValueError
