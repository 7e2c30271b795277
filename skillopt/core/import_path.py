"""Import paths: what ``module:name`` in a config refers to, and calling a user's own code.

An exception in a user's own code becomes an :class:`OwnCodeError` that keeps its traceback, so that
it is not taken for a failure of the infrastructure or of this project.
"""

from __future__ import annotations

import importlib
import inspect
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skillopt.core.errors import SkillOptError

PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
"""Pattern of an import path."""
_PACKAGES = ("skillopt", "harnesses", "sandboxes")
_PROJECT = tuple(f"{Path(__file__).parents[2] / name}/" for name in _PACKAGES)
_LIBRARY = sysconfig.get_path("stdlib")


class PluginError(SkillOptError):
    """An import path leads nowhere. The message names the key and what to do."""


class OwnCodeError(PluginError):
    """A user's own function raised an exception, which is the ``__cause__``."""

    @property
    def traceback(self) -> str:
        """The traceback of the user's code only, from its first line on."""
        cause = self.__cause__
        if cause is None:
            return ""
        told = traceback.TracebackException.from_exception(cause)
        frames = list(told.stack)
        theirs = [n for n, frame in enumerate(frames) if not _ours(frame.filename)]
        told.stack = traceback.StackSummary.from_list(frames[theirs[0] :] if theirs else [])
        return "".join(told.format())


def load(path: str, key: str) -> Any:
    """The object that an import path ``module:name`` refers to.

    Args:
        path: the module must be importable: installed, or on PYTHONPATH.
        key: the config's key, for the message.

    Raises:
        PluginError: there is no such module, or no such name in it.
        OwnCodeError: the module raised while it was imported.
    """
    module, _, name = path.partition(":")
    try:
        with own_code(f"{key}: {path}", module, passing=(ImportError,)):
            found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"{key}: {path}: {error}; give an importable 'module:name' (is it on PYTHONPATH?)"
        ) from error
    return found


def make(path: str, key: str, method: str, /, *arguments: Any, **settings: Any) -> Any:
    """An object by import path.

    Args:
        path: import path of a class or function that makes the object, or of the object itself.
        key: the config's key, for messages.
        method: a method that the object must have.
        arguments, settings: passed to the class or function.

    Raises:
        PluginError: the path leads nowhere, the class does not take these arguments, or the
            object has no such method.
        OwnCodeError: the class or function raised.
    """
    found = load(path, key)
    if isinstance(found, type) or not hasattr(found, method):
        found = call(found, path, key, *arguments, **settings)
    if not callable(getattr(found, method, None)):
        raise PluginError(f"{key}: {path}: has no method {method!r}; add it (see the documents)")
    return found


@contextmanager
def own_code(
    what: str, part: Any = None, passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """A context for a call of code that a user may have written.

    Args:
        what: a name for the code that is called, for the message.
        part: the function or object that is called, or its module's name. Exceptions in the
            project's own parts pass unchanged.
        passing: exceptions that pass unchanged, as they are not programming errors here.

    Raises:
        OwnCodeError: a user's part raised something that is not an error of this project. Errors of
            the file system in the project's functions that it calls are not its errors.
    """
    expected: tuple[type[BaseException], ...] = (SkillOptError, *passing)
    try:
        yield
    except expected:
        raise
    except (Exception, SystemExit) as error:
        if is_ours(part) or (isinstance(error, OSError) and _raised_by_us(error)):
            raise
        name = type(error).__name__
        raise OwnCodeError(f"{what}: your own code raised {name}: {error}") from error


def takes(function: Any, key: str, *given: str, named: Sequence[str] = ()) -> None:
    """Refuse a function that cannot be called with the given arguments.

    Args:
        function: the user's function.
        key: the config's key, for the message.
        given, named: its arguments, by position and by name.

    Raises:
        PluginError: it is not a function, or takes other arguments.
    """
    if not callable(function):
        raise PluginError(f"{key}: {function!r} is not a function, nor can it be called as one")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # Some functions written in C have no signature.
    try:
        signature.bind(*given, **dict.fromkeys(named))
    except TypeError as error:
        name = getattr(function, "__qualname__", type(function).__qualname__)
        arguments = ", ".join([*given, *(f"{word}=" for word in named)])
        raise PluginError(
            f"{key}: {name}{signature} does not take ({arguments}), with which it is called: "
            f"{error}"
        ) from error


def check(path: str, key: str, method: str) -> None:
    """Check an import path before anything is started with the object.

    Raises:
        PluginError: it leads nowhere, or to a class without that method.
    """
    found = load(path, key)
    if not callable(found) and not hasattr(found, method):
        raise PluginError(f"{key}: {path}: neither a class nor an object with {method!r}")
    if isinstance(found, type) and not callable(getattr(found, method, None)):
        raise PluginError(f"{key}: {path}: has no method {method!r}; add it (see the documents)")


def call(factory: Any, path: str, key: str, *arguments: Any, **settings: Any) -> Any:
    """Call a user's class or function.

    Raises:
        PluginError: it cannot be called with these arguments.
        OwnCodeError: it raised.
    """
    signature = ""
    try:
        found = inspect.signature(factory)
        signature = f"; it takes {found.replace(return_annotation=found.empty)}"
        found.bind(*arguments, **settings)
    except (TypeError, ValueError) as error:
        given = ", ".join([*(type(a).__name__ for a in arguments), *settings]) or "nothing"
        raise PluginError(
            f"{key}: {path}: cannot be called with {given}: {error}{signature}"
        ) from error
    with own_code(f"{key}: {path}"):
        return factory(*arguments, **settings)


def _ours(file: str) -> bool:
    return file.startswith(_PROJECT) or file.startswith("<frozen importlib")


def own_file(file: str) -> bool:
    """Whether a file of Python code is the user's: not the standard library's, an installed
    package's or this project's."""
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    return not installed and not file.startswith((_LIBRARY, "<frozen ")) and not _ours(file)


def is_ours(part: Any) -> bool:
    """Whether a part belongs to this project."""
    module = part if isinstance(part, str) else getattr(part, "__module__", "")
    return str(module).partition(".")[0] in _PACKAGES


def _raised_by_us(error: BaseException) -> bool:
    """Whether the last function that raised, ignoring the standard library, is this project's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        if _ours(file):
            return True
        installed = "site-packages" in Path(file).parts
        if installed or not file.startswith((_LIBRARY, "<")):
            return False
    return False
