"""The emulated terminal: what a person would see, recorded, whatever a program writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harnesses.agents.screen import CAST, TEXT, Screen
from tests.helpers.cells import examples

escapes = st.sampled_from([b"\x1b[", b"\x1b]", b"\x1b", b"?", b">", b"4m", b"6n", b"9999L", b";"])
output = st.lists(st.binary(max_size=20) | escapes, max_size=20).map(b"".join)


def test_redrawn_text_is_shown_once_and_questions_are_answered(tmp_path: Path) -> None:
    with Screen(tmp_path) as screen:
        assert screen.feed(b"first\r\x1b[Ksecond \xe2\x9d\xaf\x1b[6n\x1b[c") == b"\x1b[1;9R\x1b[?6c"
        assert screen.text == "second ❯"
        screen.note("here")
    text = (tmp_path / TEXT).read_text()
    assert re.match(r"--- \d+\.\d s: here\nsecond ❯\n", text), text
    head, event = map(json.loads, (tmp_path / CAST).read_text().splitlines())
    assert head["version"] == 2
    assert event[1:] == ["o", "first\r\x1b[Ksecond ❯\x1b[6n\x1b[c"]


def test_only_what_changes_the_screen_breaks_its_quiet(tmp_path: Path) -> None:
    with Screen(tmp_path) as screen:
        screen.feed(b"text")
        changed = screen.changed
        screen.feed(b"\r")
        assert screen.changed == changed
        screen.feed(b"T")
        assert screen.changed > changed


@settings(max_examples=examples(50))
@given(output)
@example(b"\x1b[?4m")  # The emulator fails on it by itself.
@example(b"\x1b[6n" * 1000)
@example("全角\x1b[1;2Hx".encode())
def test_no_output_breaks_it(data: bytes) -> None:
    with TemporaryDirectory() as folder, Screen(Path(folder)) as screen:
        assert len(screen.feed(data)) < 200
        screen.feed(b"\x18\x07\x1b\\" * 2 + b"\x1bc\x1b[2J\x1b[1;1Hstill here")
        assert "still here" in screen.text
        assert all(c.isprintable() or c == "\n" for c in screen.text)


def test_the_recording_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harnesses.agents.screen.CAST_BYTES", 4096)
    with Screen(tmp_path) as screen:
        for number in range(100):
            screen.feed(b"\rline %d" % number * 9)
    lines = (tmp_path / CAST).read_text().splitlines()
    assert 20 < len(list(map(json.loads, lines))) < 100
    assert (tmp_path / CAST).stat().st_size <= 4096


def test_an_animation_is_no_change(tmp_path: Path) -> None:
    with Screen(tmp_path) as screen:
        screen.feed(b"Do you want to go on?\r\n> Yes")
        for frame in "◐◓◑◒":
            screen.feed(f"\x1b[5;1H{frame}".encode())
        screen.changed -= 10
        for frame in "◐◓◑◒" * 3:
            screen.feed(f"\x1b[5;1H{frame}".encode())
        assert screen.quiet_s > 9
        screen.feed(b"\x1b[6;1Hsomething new")
        assert screen.quiet_s < 9
