"""Values in the bodies of services: what is taken for which type, and what for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.protocols.base import ProtocolError
from harnesses.protocols.fields import arguments, count, get, maybe, objects, uncounted


@pytest.mark.parametrize(
    ("value", "kind", "default", "found"),
    [
        (3, int, None, 3), (3.0, int, None, 3), (True, int, None, None), (True, int, 5, None),
        (3.5, int, None, None), ("3", int, None, None), (None, int, None, None), (None, int, 7, 7),
        (None, int, 0, 0), (False, bool, None, False), (True, bool, None, True),
        (1, bool, None, None),
        ("", str, "x", ""), (None, str, "x", "x"), ([], list, None, []), ({}, dict, None, {}),
        ({}, list, None, None), (0, int, 7, 0),
    ],
)  # fmt: skip
def test_a_value_has_its_type_or_its_default(
    value: Any, kind: type, default: Any, found: Any
) -> None:
    if found is None:
        with pytest.raises(ProtocolError, match=f"key: expected {kind.__name__}, got "):
            get({"key": value}, "key", kind, default)
    else:
        got = get({"key": value}, "key", kind, default)
        assert got == found and type(got) is type(found)
        assert get({}, "key", kind, found) == found


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        (3, int, 3), (True, int, None), (3, float, 3.0), (True, float, None), (0.5, float, 0.5),
        ("x", str, "x"), (3, str, None), (None, str, None), ({}, dict, {}), ([], dict, None),
    ],
)  # fmt: skip
def test_an_option_that_is_odd_is_none(value: Any, kind: type, found: Any) -> None:
    got = maybe({"key": value}, "key", kind)
    assert got == found and type(got) is type(found)
    assert maybe({}, "key", kind) is None


@pytest.mark.parametrize(
    ("usage", "number", "lacks"),
    [
        ({"n": 3}, 3, False), ({"n": 0}, 0, False), ({"n": -1}, 0, True), ({"n": None}, 0, True),
        ({}, 0, True), ({"n": True}, 0, True), ({"n": "3"}, 0, True),
    ],
)  # fmt: skip
def test_an_odd_count_is_none_and_marks_the_usage(
    usage: dict[str, Any], number: int, lacks: bool
) -> None:
    assert count(usage, "n") == number
    assert uncounted(usage, "n") is lacks
    # One of several is enough.
    assert uncounted({**usage, "m": 1}, "m", "n") is uncounted({**usage, "m": 1}, "n", "m") is lacks
    assert uncounted({**usage, "m": 1}, "m") is False
    assert uncounted({}) is False


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}), ({"a": 1}, {"a": 1}), (None, {}), ("", {}), (" \n", {}),
        ("[1]", {"_raw": "[1]"}), ("{broken", {"_raw": "{broken"}), ("3", {"_raw": "3"}),
        (3, {"_raw": "3"}), ([1], {"_raw": "[1]"}), ("null", {"_raw": "null"}),
    ],
)  # fmt: skip
def test_arguments_that_are_no_object_are_kept_raw(text: Any, found: dict[str, Any]) -> None:
    assert arguments(text) == found


def test_a_list_of_objects_names_the_odd_one() -> None:
    assert objects({"key": [{}, {"a": 1}]}, "key") == [{}, {"a": 1}]
    assert objects({}, "key") == objects({"key": None}, "key") == []
    with pytest.raises(ProtocolError, match=r"key\[1\]: expected object, got int"):
        objects({"key": [{}, 3]}, "key")
