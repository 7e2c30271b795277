"""Pages of an agent are answered by the text of their options, whatever their layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harnesses.agents import claude_code, codex
from harnesses.agents.interactive import _Driver
from harnesses.agents.screen import Screen
from harnesses.agents.terminal_profile import Page, TerminalProfile

UP, DOWN, ENTER = b"\x1b[A", b"\x1b[B", b"\r"
TRUST = "Is this a project you created or one you trust?"
KEYS = "Enter to confirm · Esc to cancel"


class Keys:
    """A terminal that keeps what is sent to it."""

    def __init__(self) -> None:
        self.pressed: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.pressed.append(data)


def pressed(folder: Path, profile: TerminalProfile, *lines: str) -> list[bytes]:
    """The keys for a screen that is at rest."""
    keys: Any = Keys()
    with Screen(folder) as screen:
        screen.feed("\r\n".join(lines).encode())
        screen.changed -= 10
        driver = _Driver(keys, screen, None, profile, 1.0)  # type: ignore[arg-type]
        driver._answer_page()
    found: list[bytes] = keys.pressed
    return found


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["❯ 1. Yes, I trust this folder", "  2. No, exit"], ENTER),
        (["  1. Yes, I trust this folder", "❯ 2. No, exit"], UP),
        (["❯ No, exit", "  Yes, I trust this folder"], DOWN),
        (["  No, exit", "❯ Yes, I trust this folder"], ENTER),
        (["│ ❯ No, exit                  │", "│   Yes, I trust this folder  │"], DOWN),
        (["❯ 1) No, exit", "  2) Yes, I trust this folder"], DOWN),
        (["❯ No, exit", "", "", "  Yes, I trust this folder"], DOWN),
        (["❯No, exit", " Yes, I trust this folder"], DOWN),
    ],
)
def test_an_option_is_found_by_its_text(options: list[str], key: bytes, tmp_path: Path) -> None:
    page = [TRUST, "", "Only open what you know: yes, I trust is an answer.", *options, "", KEYS]
    assert pressed(tmp_path, claude_code.TERMINAL_PROFILE, *page) == [key]


def test_text_above_a_page_is_no_option_of_it(tmp_path: Path) -> None:
    page = ["❯ Yes, I trust it, says the task", TRUST, "❯ No, exit", "  Yes, I trust it", KEYS]
    assert pressed(tmp_path, claude_code.TERMINAL_PROFILE, *page) == [DOWN]


def test_an_unknown_page_and_a_page_without_the_option_are_left_alone(tmp_path: Path) -> None:
    for page in (
        ["Send us your opinion?", "❯ Yes", "  No", KEYS],
        [TRUST, "❯ No, exit", "  Maybe", KEYS],
        [TRUST, "  No, exit", "  Yes, I trust it", KEYS],
        [TRUST, "❯ No, exit", "  Yes, I trust it"],
    ):
        assert pressed(tmp_path, claude_code.TERMINAL_PROFILE, *page) == []


@pytest.mark.parametrize(
    ("page", "key"),
    [
        (["Do you trust the contents of this folder?", "› 1. Yes, continue", "  2. No"], ENTER),
        (["Do you trust the contents of this folder?", "› No", "  Yes, continue"], DOWN),
        (["Introducing a model", "› Try new model", "  Use existing model"], DOWN),
        (["✨ Update available!", "› 1. Update now", "  2. Skip", "  3. Skip until next"], DOWN),
        (["Would you like to run this?", "› 1. Yes, proceed (y)", "  2. No"], ENTER),
    ],
)
def test_codex_asks_with_and_without_numbers(page: list[str], key: bytes, tmp_path: Path) -> None:
    shown = [*page, "Press enter to continue"]
    assert pressed(tmp_path, codex.TERMINAL_PROFILE, *shown) == [key]


def test_options_of_a_pattern_are_matched_at_their_beginning(tmp_path: Path) -> None:
    profile = TerminalProfile("", "never", "", "", "confirm", ">", (Page("Sure", "Yes|Always"),))
    page = ["Sure?", "> No, not Always", "  Always", "confirm"]
    assert pressed(tmp_path, profile, *page) == [DOWN]
