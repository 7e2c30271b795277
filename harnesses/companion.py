"""A companion: an object outside the sandbox that lives as long as a rollout and answers its agent,
such as a game that the agent plays with a small command in its sandbox.

The command posts a JSON object to ``SKILLOPT_COMPANION_URL`` with the header ``Authorization:
Bearer $SKILLOPT_COMPANION_TOKEN`` and gets a JSON object back. The gateway serves that address; see
:mod:`harnesses.gateway.companion_channel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

URL, TOKEN = "SKILLOPT_COMPANION_URL", "SKILLOPT_COMPANION_TOKEN"
"""The environment variables of the agent's sandbox."""
PATH = "/companion"
"""The path of the gateway at which it serves companions."""


class Companion(Protocol):
    """An object that answers the agent of one rollout, and of no other."""

    def reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to one message; both are JSON objects.

        It is called for one message after another, always in the same thread. It has to answer
        whatever an agent may send: an exception, like an answer that takes too long, ends the
        rollout as a failure of the infrastructure.
        """

    def close(self) -> None:
        """End the companion. It is called exactly once, when the rollout has ended in whatever way;
        if a reply took too long, while that is still running."""


def companion_env(companion: Companion | None, token: str, base_url: str) -> Mapping[str, str]:
    """The environment variables by which an agent's sandbox finds its companion; none without one.

    Args:
        companion: of the request.
        token: of the rollout's session.
        base_url: the gateway's address inside the sandbox.
    """
    return {} if companion is None else {URL: f"{base_url}{PATH}", TOKEN: token}
