"""Drives an agent on its terminal as a person does: start-up pages, prompts, turns, exit.

The state of the agent shows in two places: on its screen, and in its model calls. If neither makes
sense, the conversation ends with :class:`UnknownScreenError` instead of waiting forever.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pexpect

from harnesses.agents.screen import Screen
from harnesses.agents.terminal_profile import TerminalProfile
from harnesses.gateway.session import Session
from harnesses.gateway.wire import WIRE
from harnesses.trajectories.threads import Turn, Turns, main_conversation
from sandboxes.base import Terminal
from sandboxes.errors import SkillOptError

_TICK_S = 0.1
_SETTLED_S = 0.3
_TURN_SETTLED_S = 0.6
_ENTER_AGAIN_S = 2.0
_STARTING = 4
"""How much longer than a screen an empty one is waited at: a busy machine starts slowly."""
_LOW_LINES = 8
"""The lowest lines of the screen, in which agents show that they work."""
_EXIT_TRIES, _EXIT_S = 4, 4.0
_UP, _DOWN, _ENTER, _INTERRUPT = b"\x1b[A", b"\x1b[B", b"\r", b"\x03"
_PASTE = b"\x1b[200~%s\x1b[201~"
_OPTION = r"^\W*(?:\d+[.)]\s*)?"
"""What may come before the text of an option: a frame, the cursor's mark, a number."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class UnknownScreenError(SkillOptError):
    """The agent shows a screen that is not known; the message contains it."""

    exit_code = 3


@dataclass
class _Driver:
    terminal: Terminal
    screen: Screen
    session: Session
    profile: TerminalProfile
    patience_s: float
    _main: tuple[int, Sequence[Turn]] = (-1, ())
    """The main conversation, and the number of exchanges that it was computed from."""
    _turns_before: int = 0
    _pasted: str = ""

    @cached_property
    def _turns(self) -> Turns:
        record = self.session.grant.record
        assert record is not None, "the sessions of rollouts are recorded"
        return Turns(record / WIRE)

    def start(self) -> None:
        self._until(
            lambda: self._shows(self.profile.ready) and self.screen.quiet_s > _SETTLED_S,
            "the prompt",
        )
        self.screen.note("ready")

    def prompt(self, prompt: str) -> None:
        """Paste a prompt and send it. Enter may be taken as a part of it, so it is repeated."""
        before, asked = self.screen.text, self.session.requests
        self._turns_before = len(self._conversation())
        text = _CONTROL.sub("", prompt.replace("\r\n", "\n")).strip()
        # At the beginning these characters begin commands, at the end completions.
        text = f" {text}" if text[:1] in ("/", "!", "#", "&") else text
        text = f"{text} " if re.search(r"(^|\s)[@$/#]\S*$", text) else text
        self.terminal.send(_PASTE % text.encode("utf-8", "replace"))
        self._until(
            lambda: self.screen.text != before and self.screen.quiet_s > _SETTLED_S,
            "the pasted prompt",
        )
        self.screen.note("prompt")
        self._pasted = self.screen.text
        pressed = 0.0

        def sent() -> bool:
            nonlocal pressed
            if self.session.requests > asked or self.over:
                return True
            if time.monotonic() - pressed > _ENTER_AGAIN_S:
                pressed = time.monotonic()
                self.terminal.send(_ENTER)
            return False

        self._until(sent, "a request to the model")

    def work(self) -> None:
        """Wait for the end of the turn."""
        self._until(
            lambda: (
                self.over
                or (
                    self._answered()
                    and self._moved_on()
                    and not self._busy()
                    and self.screen.quiet_s > _TURN_SETTLED_S
                )
            ),
            "the end of the turn",
        )
        self.screen.note("turn ended")

    def leave(self) -> None:
        """Interrupt the agent until it says goodbye; pexpect.EOF if it also ends."""
        for _ in range(_EXIT_TRIES):
            self.terminal.send(_INTERRUPT)
            self.screen.changed = pressed = time.monotonic()
            while time.monotonic() - pressed < _EXIT_S:
                self._look()
                self._answer_page()
                if self._shows(self.profile.goodbye) and self.screen.quiet_s > _SETTLED_S:
                    return
                if self._shows(self.profile.exit_hint) and self.screen.quiet_s > _TICK_S:
                    break
        self._until(lambda: False, "its end")

    @property
    def over(self) -> bool:
        """Whether the model service, the budget or the gateway has ended the rollout."""
        return bool(self.session.failure or self.session.exhausted or self.session.over)

    def _answered(self) -> bool:
        """Whether the last request of this turn has got a reply without tool calls."""
        main = self._conversation()
        last = main[-1].reply if len(main) > self._turns_before else None
        return last is not None and not last.calls

    def _conversation(self) -> Sequence[Turn]:
        count = len(self.session.exchanges)
        if self._main[0] != count:
            self._main = (count, main_conversation(self._turns.so_far()))
        return self._main[1]

    def _moved_on(self) -> bool:
        """Whether the pasted prompt is gone from its place, which may be later than the reply."""
        return self.screen.text != self._pasted

    def _busy(self) -> bool:
        low = "\n".join(self.screen.text.split("\n")[-_LOW_LINES:])
        return bool(self.session.active) or bool(re.search(self.profile.busy, low, re.MULTILINE))

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds, and answer pages meanwhile."""
        waited = time.monotonic()
        while not reached():
            self._look()
            if self._answer_page() or self._busy():
                waited = time.monotonic()
            # A program that has shown nothing yet is still starting.
            patience_s = self.patience_s if self.screen.text else self.patience_s * _STARTING
            if min(self.screen.quiet_s, time.monotonic() - waited) > patience_s:
                raise UnknownScreenError(self._unknown(what))

    def _look(self) -> None:
        try:
            data = self.terminal.read_nonblocking(timeout=_TICK_S)
        except pexpect.TIMEOUT:
            return
        if answer := self.screen.feed(data):
            self.terminal.send(answer)

    def _answer_page(self) -> bool:
        """Press one key towards the right option of the page that is shown, if there is one."""
        if not self._shows(self.profile.question):
            return False  # Text of the conversation may look like a page.
        for page in self.profile.pages:
            if not self._shows(page.shows):
                continue
            if self.screen.quiet_s < _SETTLED_S:
                return True
            lines = self.screen.text.split("\n")
            # Text above the page may look like its options.
            lines = lines[_matching(lines, page.shows)[-1] :]
            wanted = next(iter(_matching(lines, f"{_OPTION}(?:{page.choose})")), None)
            marked = rf"^\W*{re.escape(self.profile.cursor)}\s*\w"
            chosen = next(iter(_matching(lines, marked)), None)
            if wanted is None or chosen is None:
                continue
            self.screen.note("page")
            self.terminal.send(_ENTER if chosen == wanted else _DOWN if wanted > chosen else _UP)
            self.screen.changed = time.monotonic()
            return True
        return False

    def _shows(self, pattern: str) -> bool:
        return re.search(pattern, self.screen.text, re.MULTILINE) is not None

    def _unknown(self, what: str) -> str:
        return f"waited {self.patience_s:g} s for {what}, and the screen shows:\n{self.screen.text}"


def converse(
    terminal: Terminal,
    screen: Screen,
    session: Session,
    prompts: Sequence[str],
    profile: TerminalProfile,
    patience_s: float,
) -> None:
    """Hold a whole conversation, one turn for each prompt, and exit.

    Args:
        terminal: of the agent, which has just been started.
        screen: shows what the agent writes.
        session: of the gateway that the agent calls.
        prompts: the user's messages; at least one.
        profile: how the agent behaves on a terminal.
        patience_s: seconds after which a screen that does not change is unknown.

    Raises:
        UnknownScreenError: the agent shows a screen that is not known.
        pexpect.EOF: the agent has ended before its work was done.
    """
    driver = _Driver(terminal, screen, session, profile, patience_s)
    driver.start()
    for prompt in prompts:
        driver.prompt(prompt)
        driver.work()
        if driver.over:
            return
    try:
        driver.leave()
    except pexpect.EOF:
        return


def _matching(lines: Sequence[str], pattern: str) -> list[int]:
    return [number for number, line in enumerate(lines) if re.search(pattern, line)]
