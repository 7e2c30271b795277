"""Recordings become plain screens, whatever is in them."""

from __future__ import annotations

import json
from pathlib import Path

from skillopt.report import terminal
from skillopt.report.terminal import read_frames


def frames_of(cast: Path) -> list[tuple[float, str]]:
    with cast.open("rb") as file:
        return read_frames(file)


def cast(path: Path, events: list[object], width: int = 20, height: int = 3) -> Path:
    head = {"version": 2, "width": width, "height": height}
    path.write_text("\n".join(json.dumps(line) for line in [head, *events]), "utf-8")
    return path


def test_the_screen_is_what_a_person_would_have_seen(tmp_path: Path) -> None:
    events = [[0.5, "o", "hello"], [1.0, "o", "\r\x1b[2Kbye\x1b[31m red"], [2.0, "i", "typed"]]
    frames = frames_of(cast(tmp_path / "a.cast", events))
    assert frames == [(0.5, "hello"), (1.0, "bye red")]


def test_escape_sequences_are_taken_in_and_never_shown(tmp_path: Path) -> None:
    hostile = "\x1b]0;title\x07\x1b]52;c;aGk=\x07\x1b[?1049h\x1b[1;1Hshown"
    ((_, text),) = frames_of(cast(tmp_path / "a.cast", [[0.1, "o", hostile]]))
    assert text == "shown"


def test_a_torn_recording_gives_what_is_whole(tmp_path: Path) -> None:
    file = cast(tmp_path / "a.cast", [[0.1, "o", "one"], [0.9, "o", " two"]])
    file.write_text(file.read_text()[:-6])
    assert frames_of(file) == [(0.1, "one")]
    file.write_text("no recording")
    assert frames_of(file) == []


def test_screens_are_few_however_long_the_recording_is(tmp_path: Path) -> None:
    events: list[object] = [[n * 0.2, "o", f"\r\n{n}"] for n in range(1000)]
    frames = frames_of(cast(tmp_path / "a.cast", events))
    assert 200 < len(frames) <= terminal.MAX_FRAMES
    assert frames[-1][1].endswith("999")


def test_screens_are_small_whatever_size_the_recording_names(tmp_path: Path) -> None:
    events: list[object] = [[n * 0.2, "o", "".join(f"\r\n{n}{i}" for i in range(99))]
                            for n in range(10)]  # fmt: skip
    frames = frames_of(cast(tmp_path / "a.cast", events, width=10**9, height=10**9))
    assert frames[-1][1].endswith("998")
    assert len(frames[-1][1].splitlines()) <= terminal.MAX_LINES
