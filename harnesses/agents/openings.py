"""Ends a rollout that only asks which skills are opened, as soon as that is decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harnesses.base import Openings, Request
from harnesses.protocols.base import ProtocolError, ProtocolName
from harnesses.protocols.registry import CODECS
from harnesses.trajectories.trajectory import has_text


class OpeningWatch:
    """Looks at an agent's requests before they are passed on: the text of a skill in one shows that
    it has been opened. Implements :data:`harnesses.gateway.session.Over`.

    Args:
        request: with the skills, and what decides.

    Attributes:
        opened: names of the folders of the skills that have been opened.
    """

    def __init__(self, request: Request) -> None:
        assert request.openings is not None, "a request that asks for openings says which"
        self._until: Openings = request.openings
        skills = [*request.beside, *([request.skill] if request.skill else [])]
        self._skills = {skill.name: skill for skill in skills}
        self.opened: frozenset[str] = frozenset()
        self._calls = 0

    def __call__(self, protocol: ProtocolName, body: Mapping[str, Any]) -> str:
        try:
            shown = CODECS[protocol].read_request(body)
        except ProtocolError:
            return ""  # The service refuses it.
        found = (name for name, skill in self._skills.items() if has_text(shown.messages, skill))
        self.opened |= frozenset(found)
        if self._until.decided(self.opened):
            return f"opened: {', '.join(sorted(self.opened))}"
        if not shown.tools:
            return ""  # A side request, such as for a title.
        self._calls += 1
        if self._calls > self._until.calls:
            return f"not decided in {self._until.calls} model calls"
        return ""
