"""What identifies a user's own part: its code and the values bound to it, or a version of its own.

The code of a function is its syntax tree, so that comments and formatting do not count, with the
user's functions, classes and constants that it refers to, wherever they are. A function whose
source is not what runs (from a prompt, from ``exec``, from a file that has changed since) is
identified by its compiled code. What belongs to the standard library, to an installed package of
another name, or to this project, counts by its name.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import importlib
import importlib.util
import json
import logging
import os
import re
import sys
import threading
import types
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from skillopt.core.files import digest_of
from skillopt.core.function_code import cells, code_shape, inputs, instructions
from skillopt.core.import_path import PluginError, is_ours, own_file

MOST_VALUES, MOST_BYTES = 100_000, 16 * 1024 * 1024
"""The most values, and bytes of text and data, by which a part is identified."""
ENTRIES = ("__call__", "run", "decide")
"""Methods by which parts are called. Attributes that these assign are state, and no input."""
_DIGITS = 16
_BY_REPR = (
    type(None), bool, int, float, complex, str, range, slice, type(Ellipsis), type(NotImplemented),
    date, datetime, time, timedelta, Decimal, Fraction, PurePath, UUID,
    types.GenericAlias, types.UnionType,
)  # fmt: skip
_WITHOUT_VALUE = (
    type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event,
    threading.Semaphore, threading.Barrier, threading.local, type(os.environ),
)  # fmt: skip
_GENERATED = "<string>"
"""The file name of methods that a dataclass generates; their input is in the class's fields."""
_HEAP_TYPE = 1 << 9
"""A flag of CPython's types: made by a class statement."""

Shape = Any
"""JSON that stands for a value: equal for values that act the same."""


def identity_of(part: Any, key: str, *, versioned: bool = False, values: bool = True) -> str:
    """What identifies a part: ``module:name``, with ``@version`` if it states one, else with ``#``
    and a digest of code and bound values. For the project's own parts the name is enough.

    Args:
        part: a function, class or object of the user's.
        key: the config's key, for the message.
        versioned: whether it states elsewhere what its values do not show, as a harness does with
            ``version()``: values that cannot be identified are then left out.
        values: whether the attributes of an object count.

    Raises:
        PluginError: it has no version, and a value in it cannot be identified.
    """
    name, version = part_name(part), _version(part)
    if version:
        return f"{name}@{version}"
    if is_ours(_kind(part)) and not _bound(part):
        return name
    walk = _Walk(_package(part), f"{key}: {name}", versioned)
    try:
        shape = walk.shape(part if values else _kind(part), "it")
    except RecursionError:
        raise walk.unidentified("it", "is nested too deeply") from None
    return f"{name}#{digest_of(shape)[:_DIGITS]}"


def part_name(part: Any) -> str:
    """``module:name`` of a function or class, or of an object's class."""
    kind = _kind(part)
    return f"{_module(kind)}:{kind.__qualname__}"


def _module(kind: Any) -> str:
    """The module of a function or class. Methods of classes written in C, such as ``str.lower``,
    have none: it is that of their class."""
    return str((kind if hasattr(kind, "__module__") else kind.__objclass__).__module__)


def _kind(part: Any) -> Any:
    while isinstance(part, functools.partial):
        part = part.func
    return part if hasattr(part, "__qualname__") else type(part)


def _bound(part: Any) -> bool:
    """Whether there are values besides the code."""
    if isinstance(part, functools.partial | types.MethodType):
        return True
    return not hasattr(part, "__qualname__") and bool(getattr(part, "__dict__", {}))


def _version(part: Any) -> str:
    version = getattr(part, "version", "")
    return str(version) if isinstance(version, str | int | float) else ""


def _package(part: Any) -> str:
    """The top package of a part, all of which is the user's, also if it is installed."""
    top = _module(_kind(part)).partition(".")[0]
    return "" if top in sys.stdlib_module_names or is_ours(top) else top


class _Walk:
    """Turns one part into a shape.

    Args:
        package: the part's top package.
        where: config key and part, for messages.
        loose: whether values that cannot be identified are left out.
    """

    def __init__(self, package: str, where: str, loose: bool) -> None:
        self._package, self._where, self._loose = package, where, loose
        self._path: dict[int, Any] = {}
        self._known: dict[int, tuple[Any, Shape]] = {}
        self._values = self._bytes = 0

    def unidentified(self, what: str, problem: str) -> PluginError:
        return PluginError(
            f"{self._where}: {what} {problem}, so results of it could be taken for those of "
            "another one; give the part an attribute 'version', and change it when the part's "
            "results change"
        )

    def shape(self, value: Any, what: str) -> Shape:
        """The shape of a value; ``what`` names it in messages."""
        self._values += 1
        if isinstance(value, str | bytes | bytearray):
            self._bytes += len(value)
        if self._values > MOST_VALUES or self._bytes > MOST_BYTES:
            if self._loose:
                return ["left out"]
            raise self.unidentified(what, "is too large to be identified by its value")
        if isinstance(value, _BY_REPR) and not isinstance(value, enum.Enum):
            return [type(value).__name__, repr(value)]
        if id(value) in self._path:
            return ["itself"]
        known = self._known.get(id(value))
        if known is None:
            self._path[id(value)] = value
            known = self._known[id(value)] = value, self._shape(value, what)
            del self._path[id(value)]
        return known[1]

    def _shape(self, value: Any, what: str) -> Shape:
        match value:
            case enum.Enum():
                return ["member", value.name, self.shape(type(value), what)]
            case bytes() | bytearray() | memoryview():
                return ["bytes", hashlib.sha256(value).hexdigest()]
            case re.Pattern():
                return ["pattern", value.pattern, int(value.flags)]
            case types.ModuleType():
                return ["module", value.__name__]
            case logging.Logger():
                return ["logger", value.name]
            case functools.partial():
                given = [value.func, value.args, value.keywords]
                return ["partial", *(self.shape(each, f"an argument of {what}") for each in given)]
            case staticmethod() | classmethod():
                return [type(value).__name__, self.shape(value.__func__, what)]
            case property():
                return ["property", *map(self._method, (value.fget, value.fset, value.fdel))]
            case functools.cached_property():
                return ["property", self._method(value.func)]
            case types.MethodType():
                own = self.shape(value.__self__, f"the object of {what}")
                return ["method", own, self.shape(value.__func__, what)]
            case types.FunctionType():
                return self._function(value, what)
            case type():
                return self._class(value)
        if isinstance(value, _WITHOUT_VALUE):
            return ["without value", type(value).__name__]
        return self._object(value, what)

    def _method(self, function: Any) -> Shape:
        return self.shape(function, "a property")

    def _object(self, value: Any, what: str) -> Shape:
        kind, module = type(value), str(type(value).__module__)
        content = self._content(value, what)
        if self._is_own_class(kind):
            if callable(value) and _version(value):
                return ["version", part_name(value), _version(value)]
            return ["object", self.shape(kind, what), content, self._attributes(value, what)]
        if content is not None:
            return [kind.__name__, content]
        plain = dataclasses.is_dataclass(kind) or isinstance(value, types.SimpleNamespace)
        if plain or hasattr(kind, "__pydantic_fields__"):
            return ["object", part_name(value), self._attributes(value, what)]
        if is_ours(kind):
            return ["object", part_name(value)]
        if hasattr(value, "__wrapped__"):
            return ["wrapped", part_name(value), self.shape(value.__wrapped__, what)]
        if hasattr(kind, "tobytes") and hasattr(kind, "dtype"):
            data = self.shape(value.tobytes(), what)
            return ["array", str(value.dtype), list(value.shape), data]
        if module == "typing":
            return ["type", repr(value)]
        if callable(value) and hasattr(value, "__qualname__"):  # Functions written in C.
            own = getattr(value, "__self__", None)
            bound = [] if isinstance(own, types.ModuleType) else [self.shape(own, what)]
            return ["name", part_name(value), *bound]
        if hasattr(kind, "__get__"):
            return ["descriptor", part_name(value)]
        if self._loose:
            return ["left out", part_name(value)]
        raise self.unidentified(
            what, f"is an object of {module}.{kind.__qualname__}, which cannot be identified"
        )

    def _content(self, value: Any, what: str) -> Shape:
        """What a container contains; sets and mappings in an order of their own."""
        if isinstance(value, Mapping):
            pairs = [
                [self.shape(k, f"a key of {what}"), self.shape(v, f"{what}[{k!r:.40}]")]
                for k, v in value.items()
            ]
            return sorted(pairs, key=json.dumps)
        if isinstance(value, set | frozenset):
            return sorted((self.shape(v, f"a member of {what}") for v in value), key=json.dumps)
        if isinstance(value, list | tuple | deque):
            return [self.shape(v, f"{what}[{n}]") for n, v in enumerate(value)]
        return None

    def _attributes(self, value: Any, what: str) -> Shape:
        slots = {
            name: getattr(value, name)
            for kind in type(value).__mro__
            for name in _names(vars(kind).get("__slots__", ()))
            if name not in ("__dict__", "__weakref__") and hasattr(value, name)
        }
        named = {**getattr(value, "__dict__", {}), **slots}
        called = (getattr(getattr(type(value), name, None), "__code__", None) for name in ENTRIES)
        uses = [use for code in called if code for use in instructions(code)]
        state = {name for operation, name in uses if operation == "STORE_ATTR"}
        of = "" if what == "it" else f" of {what}"
        return {
            name: self.shape(named[name], f"its attribute {name!r}{of}")
            for name in sorted(named.keys() - state)
        }

    def _class(self, kind: type) -> Shape:
        if not self._is_own_class(kind):
            return ["name", f"{kind.__module__}:{kind.__qualname__}"]
        if issubclass(kind, enum.Enum):
            members = {name: self.shape(m.value, name) for name, m in kind.__members__.items()}
        else:
            members = {}
        own = dict(_members(kind))
        members |= {name: self.shape(own[name], f"{kind.__name__}.{name}") for name in sorted(own)}
        bases = [self.shape(base, "a base class") for base in kind.__bases__]
        return ["class", kind.__qualname__, bases, members]

    def _is_own_class(self, kind: type) -> bool:
        if not kind.__flags__ & _HEAP_TYPE:
            return False
        if kind.__module__ == "builtins":
            return True  # Made by exec, without a module.
        return self._is_own_module(str(kind.__module__))

    def _is_own_module(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top in (self._package, "__main__"):
            return True
        if top in sys.stdlib_module_names or is_ours(top):
            return False
        module = sys.modules.get(name) or sys.modules.get(top)
        file = getattr(module, "__file__", None)
        if file is None and module is None:
            spec = importlib.util.find_spec(top)
            file = spec.origin if spec else None
        return file is None or own_file(file)

    def _is_own_function(self, function: types.FunctionType) -> bool:
        top = str(function.__globals__.get("__name__", "")).partition(".")[0]
        return bool(top and top == self._package) or own_file(function.__code__.co_filename)

    def _function(self, function: types.FunctionType, what: str) -> Shape:
        name = f"{function.__module__}:{function.__qualname__}"
        if _version(function) and what != "it":
            return ["version", name, _version(function)]
        if not self._is_own_function(function):
            # It may be a decorator's, with the user's function in its closure.
            inside = [value for _, value in cells(function) if callable(value)]
            return ["name", name, *(self.shape(value, what) for value in inside)]
        values = {
            **{f"default {n}": v for n, v in enumerate(function.__defaults__ or ())},
            **{f"default {n}": v for n, v in (function.__kwdefaults__ or {}).items()},
            **{f"variable {n}": v for n, v in inputs(function.__code__, cells(function))},
            **{f"attribute {n}": v for n, v in vars(function).items() if n != "__wrapped__"},
            **{f"global {n}": v for n, v in inputs(function.__code__, self._globals(function))},
        }
        of = "its" if what == "it" else f"{what}:"
        bound = {n: self.shape(values[n], f"{of} {n}") for n in sorted(values)}
        return ["function", code_shape(function.__code__), bound]

    def _globals(self, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        """The user's values that a function refers to by name, also in modules of the user's."""
        space = function.__globals__
        found = list(instructions(function.__code__))
        attributes = {n for op, n in found if op in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")}
        modules: dict[str, types.ModuleType] = {}
        source: types.ModuleType | None = None
        for operation, name in found:
            if operation in ("LOAD_GLOBAL", "LOAD_NAME") and name in space:
                if isinstance(space[name], types.ModuleType):
                    modules[name] = space[name]
                else:
                    yield name, space[name]
            elif operation == "IMPORT_NAME":
                source = self._imported(name, space)
                if source is not None:
                    modules[name] = source
            elif operation == "IMPORT_FROM" and source and name not in vars(source):
                self._imported(f"{source.__name__}.{name}", {})  # A module of that package.
        pending, seen = [*modules.values()], set[str]()
        while pending:
            module = pending.pop(0)
            if module.__name__ in seen or not self._is_own_module(module.__name__):
                continue
            seen.add(module.__name__)
            for name in sorted(attributes & vars(module).keys()):
                value = vars(module)[name]
                if isinstance(value, types.ModuleType):  # A module of a package.
                    pending.append(value)
                else:
                    yield f"{module.__name__}.{name}", value

    def _imported(self, name: str, space: Mapping[str, Any]) -> types.ModuleType | None:
        """A module of the user's that a function imports; None for others' and missing ones."""
        try:
            full = importlib.util.resolve_name(name, space.get("__package__") or None)
            return importlib.import_module(full) if self._is_own_module(full) else None
        except ImportError:
            return None


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class defines, without what Python and dataclasses add to it."""
    generated = dataclasses.is_dataclass(kind)
    for name, value in vars(kind).items():
        if isinstance(value, types.FunctionType):
            if generated and value.__code__.co_filename == _GENERATED:
                continue
            if name not in ("__annotate__", "__annotate_func__"):
                yield name, value
        elif isinstance(value, staticmethod | classmethod | property):
            yield name, value
        elif isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
            continue  # A slot.
        elif not (name.startswith("__") or name == "_abc_impl" or issubclass(kind, enum.Enum)):
            yield name, value
