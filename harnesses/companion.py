"""A companion: something outside the sandbox that lives as long as a rollout and answers its agent,
such as the game that the agent plays by means of a small command in its sandbox.

The command posts a JSON object to ``SKILLOPT_COMPANION_URL`` with the header ``Authorization:
Bearer $SKILLOPT_COMPANION_TOKEN`` and gets a JSON object back. The gateway serves that address; see
:mod:`harnesses.gateway.companion_channel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

URL, TOKEN = "SKILLOPT_COMPANION_URL", "SKILLOPT_COMPANION_TOKEN"
"""Environment variables of the agent's sandbox."""
PATH = "/companion"
"""Where the gateway serves companions."""


class Companion(Protocol):
    """What answers the agent of one rollout. It is not used for another."""

    def reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to one message; both are JSON objects.

        Called for one message after another, always in the same thread. Whatever an agent can send
        deserves an answer: an exception, like an answer that takes too long, ends the rollout as a
        failure of the infrastructure.
        """

    def close(self) -> None:
        """End the companion. Called exactly once, when the rollout has ended in whatever way; if a
        reply has taken too long, while that is still under way."""


def companion_env(companion: Companion | None, token: str, base_url: str) -> Mapping[str, str]:
    """The environment variables by which an agent's sandbox finds its companion; none without one.

    Args:
        companion: of the request.
        token: of the rollout's session.
        base_url: the gateway's address inside the sandbox.
    """
    return {} if companion is None else {URL: f"{base_url}{PATH}", TOKEN: token}
