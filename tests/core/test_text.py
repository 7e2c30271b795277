"""Text that others wrote is safe to print."""

from __future__ import annotations

import pytest

from skillopt.core.text import estimate_tokens, printable, without_escapes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc é", "a\tb\nc é"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("a\rb\x00\x7f\u202e", "a\ufffdb\ufffd\ufffd\ufffd"),
    ],
)
def test_what_a_terminal_would_obey_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[?25lx\x1b[ qy\x1b[2 qz", "xyz"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended\ntext", "\ntext"),
        ("\x1bPq#0\x1b\\x\x1b^y\x07z", "xz"),
        ("\x1b(Bx\x1b=y\x1bcz", "xyz"),
        ("a\r\nb\rc\n\td", "a\nbc\n\td"),
        ("a\x00\x07\x9b\ud800b\u202e", "ab\u202e"),
        ("x\x1b", "x"),
    ],
)
def test_escapes_and_control_characters_are_left_out(text: str, plain: str) -> None:
    assert without_escapes(text) == plain


@pytest.mark.parametrize(("chars", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_four_characters_are_about_a_token(chars: int, tokens: int) -> None:
    assert estimate_tokens("x" * chars) == tokens
