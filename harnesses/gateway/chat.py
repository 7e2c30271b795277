"""Chats with a model through the gateway: for direct chat and the optimizer.

Calls go over the gateway's Unix socket with a session's token, so that they are recorded, priced
and limited like those of any agent. The services' own SDKs are not needed for that: an import of
one takes a second and up to 42 MiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harnesses.companion import PATH
from harnesses.gateway.session import Session
from harnesses.protocols.base import Conversation, ProtocolError, ProtocolName, Reply
from harnesses.protocols.fields import object_in
from harnesses.protocols.registry import CODECS, PATHS
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    import httpx2

_BASE_URL = "http://gateway"
_PATHS = {name: path for path, name in PATHS.items()}
_ERROR_CHARS = 600


class ChatError(SkillOptError):
    """The model service did not answer; the session's ``failure`` or ``exhausted`` says why."""

    exit_code = 3


@dataclass
class ChatClient:
    """One session's chat. A context manager: closes its connections on exit.

    Args:
        session: with the token, the model and the upstream.
    """

    session: Session
    _http: httpx2.Client = field(init=False, repr=False)

    def __enter__(self) -> ChatClient:
        import httpx2

        # It loads no certificates: a socket of this machine needs none, and that takes 30 ms.
        transport = httpx2.HTTPTransport(uds=str(self.session.socket), verify=False)
        token = {"Authorization": f"Bearer {self.session.token}"}
        # The gateway ends each call: by patience, or as the agent's time is over.
        self._http = httpx2.Client(transport=transport, timeout=None, headers=token)
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def _error(self, error: Exception) -> ChatError:
        known = self.session.failure or self.session.exhausted
        return ChatError(known or f"{type(error).__name__}: {error}")

    def companion(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The companion's answer to a message.

        Raises:
            ChatError: it has failed, or takes no more messages.
        """
        answer = self._post(PATH, message)
        if answer.status_code != 200:
            raise self._error(ChatError(f"companion: {answer.text}"))
        return object_in(answer.content, "the companion's answer")

    def say(self, shown: Conversation, schema: Mapping[str, Any] | None = None) -> Reply:
        """The model's next reply.

        Args:
            shown: the conversation so far; its ``model`` is the session's.
            schema: JSON schema of the reply, named by ``shown.schema_name``.

        Raises:
            ChatError: there is no reply, even after the gateway's retries, or it cannot be read.
        """
        spoken = self.session.protocols
        name: ProtocolName = "chat" if "chat" in spoken or "messages" not in spoken else "messages"
        codec = CODECS[name]
        answer = self._post(_PATHS[name], codec.write_request(replace(shown, schema=schema)))
        if answer.status_code != 200:
            text = f"status {answer.status_code}: {answer.text[:_ERROR_CHARS]}"
            raise self._error(ChatError(text))
        try:
            return codec.read_response(object_in(answer.content, "the reply"))
        except ProtocolError as error:
            raise self._error(error) from error

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        import httpx2

        try:
            return self._http.post(_BASE_URL + path, json=dict(body))
        except httpx2.HTTPError as error:
            raise self._error(error) from error
