"""Parts of requests that a service has refused by name: they are not sent to it again.

Services differ in what they take, and each says what it does not. To learn that from its words
needs no table of services, which would soon be out of date.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from harnesses.protocols.base import ProtocolName

BETAS = "anthropic-beta"
# anthropics/claude-code#21625 and #34802 (Vertex), with the values in backquotes.
_REFUSED_BETAS = re.compile(r"Unexpected value\(s\) (.{1,2000}?) for the `?anthropic-beta`? header")
# anthropics/claude-code#49648 (Bedrock), which names none.
_ANY_BETA = re.compile(r"invalid beta flag", re.IGNORECASE)
# actions/ai-inference#116 (GitHub Models).
_OLD_LIMIT = re.compile(r"\bmax_tokens\b.{1,200}\bmax_completion_tokens\b", re.DOTALL)

_LOG = logging.getLogger(__name__)


class RefusedParts:
    """What one service has refused so far."""

    def __init__(self) -> None:
        self._betas: set[str] = set()
        self._no_betas = self._new_limit = False

    def learn(
        self,
        protocol: ProtocolName,
        said: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
    ) -> bool:
        """Whether a request that was refused can be sent again without what was refused.

        Args:
            protocol: of the request.
            said: the service's words.
            headers, body: of the request, as they were sent.
        """
        sent = _betas(headers)
        refused = set(re.findall(r"[\w.-]+", " ".join(_REFUSED_BETAS.findall(said)))) & sent
        every = bool(sent and _ANY_BETA.search(said))
        renamed = protocol == "chat" and "max_tokens" in body and bool(_OLD_LIMIT.search(said))
        if refused or every:
            _LOG.warning("a model service refuses %s: %s", BETAS, ", ".join(refused or sent))
        self._betas |= refused
        self._no_betas = self._no_betas or every
        self._new_limit = self._new_limit or renamed
        return bool(refused or every or renamed)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request without what was refused."""
        kept = sorted(_betas(headers) - self._betas) if not self._no_betas else []
        if len(kept) == len(_betas(headers)):
            return dict(headers)
        others = {name: value for name, value in headers.items() if name != BETAS}
        return others | ({BETAS: ",".join(kept)} if kept else {})

    def body(self, protocol: ProtocolName, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request, with the token limit by the name that the service knows."""
        fitted = dict(body)
        if self._new_limit and protocol == "chat" and "max_tokens" in fitted:
            fitted.setdefault("max_completion_tokens", fitted.pop("max_tokens"))
        return fitted


def _betas(headers: Mapping[str, str]) -> set[str]:
    return {value.strip() for value in headers.get(BETAS, "").split(",")} - {""}
