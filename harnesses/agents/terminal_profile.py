"""How an agent behaves on a terminal: what its screen shows in each state, and its questions.

:mod:`harnesses.agents.interactive` drives the agent by it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page with options, of which one is chosen.

    Args:
        shows: pattern that recognises the page.
        choose: pattern of the beginning of the option to take, without its number.
    """

    shows: str
    choose: str


@dataclass(frozen=True)
class TerminalProfile:
    """How an agent behaves on a terminal; patterns are searched line by line on the screen.

    Args:
        ready: shown when the first prompt waits for input.
        busy: shown while the agent works.
        exit_hint: shown when another interrupt is needed to end it.
        goodbye: its last words; it may linger after them, with nothing left to do.
        question: shown when a page waits for an answer.
        cursor: the mark before the selected option of a page.
        pages: the pages that may appear, with the answers.
    """

    ready: str
    busy: str
    exit_hint: str
    goodbye: str
    question: str
    cursor: str
    pages: tuple[Page, ...]
