"""Chats with a model through the gateway, by the official SDKs: for direct chat and the optimizer.

Calls go over the gateway's Unix socket with a session's token, so that they are recorded, priced
and limited like those of any agent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harnesses.companion import PATH
from harnesses.gateway.addresses import ANTHROPIC_VERSION
from harnesses.gateway.door import EVENTS, StreamRead
from harnesses.gateway.session import Session
from harnesses.protocols.base import Codec, Conversation, ProtocolError, Reply
from harnesses.protocols.chat import ChatCodec
from harnesses.protocols.fields import object_in
from harnesses.protocols.messages import MessagesCodec
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    import httpx2

Create = Callable[[Conversation], Reply]

BASE_URL = "http://gateway"


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
    _create: Create = field(init=False, repr=False)

    def __enter__(self) -> ChatClient:
        import httpx2

        # It loads no certificates: a socket of this machine needs none, and that takes 30 ms.
        transport = httpx2.HTTPTransport(uds=str(self.session.socket), verify=False)
        # The gateway ends each call: by patience, or as the agent's time is over.
        self._http = httpx2.Client(transport=transport, timeout=None)
        spoken = self.session.protocols
        own = "chat" in spoken or "messages" not in spoken
        self._create = self._openai() if own else self._anthropic()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    # Only one SDK is imported, as that takes a second. The gateway retries, so the SDK does not.
    # The body is given as extra fields, which replace the others: the SDK need not look through it.
    def _openai(self) -> Create:
        import openai

        client = openai.OpenAI(
            api_key=self.session.token,
            base_url=f"{BASE_URL}/v1",
            http_client=self._http,
            max_retries=0,
        )

        def create(shown: Conversation) -> Reply:
            body = ChatCodec().write_request(shown)
            try:
                raw = client.chat.completions.with_raw_response.create(
                    model=shown.model, messages=(), extra_body=body
                )
            except openai.OpenAIError as error:
                raise self._error(error) from error
            return self._read(ChatCodec(), raw.http_response)

        return create

    def _anthropic(self) -> Create:
        import anthropic

        client = anthropic.Anthropic(
            api_key=self.session.token,
            base_url=BASE_URL,
            http_client=self._http,
            max_retries=0,
            # The SDK's is newer than what other services than its vendor's know.
            default_headers={"anthropic-version": ANTHROPIC_VERSION},
        )

        def create(shown: Conversation) -> Reply:
            body = MessagesCodec().write_request(shown)
            try:
                raw = client.messages.with_raw_response.create(
                    model=shown.model, messages=(), max_tokens=1, extra_body=body
                )
            except anthropic.AnthropicError as error:
                raise self._error(error) from error
            return self._read(MessagesCodec(), raw.http_response)

        return create

    def _read(self, codec: Codec, response: Any) -> Reply:
        """A reply by the project's own codec: the SDKs' types accept what is no reply."""
        try:
            if response.headers.get("content-type", "").startswith(EVENTS):
                read = StreamRead(codec.name)
                read.feed(response.content)
                return read.end()
            return codec.read_response(object_in(response.content, "the reply"))
        except ProtocolError as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> ChatError:
        last = self.session.exchanges[-1] if self.session.exchanges else None
        refused = self.session.refused if last and last.blame == "service" else ""
        known = self.session.failure or self.session.exhausted or refused
        return ChatError(known or f"{type(error).__name__}: {error}")

    @property
    def _can_be_repeated(self) -> bool:
        """Whether the last call broke off in its stream: the gateway cannot try again itself, as
        the reply had begun, and gives a session up that has lost too many."""
        last = self.session.exchanges[-1] if self.session.exchanges else None
        given_up = self.session.failure or self.session.exhausted or self.session.refused
        return not given_up and last is not None and last.reply is None and last.status == 200

    def companion(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The companion's answer to a message.

        Raises:
            ChatError: it has failed, or takes no more messages.
        """
        import httpx2

        headers = {"Authorization": f"Bearer {self.session.token}"}
        try:
            answer = self._http.post(f"{BASE_URL}{PATH}", json=dict(message), headers=headers)
        except httpx2.HTTPError as error:
            raise self._error(error) from error
        if answer.status_code != 200:
            raise self._error(ChatError(f"companion: {answer.text}"))
        return object_in(answer.content, "the companion's answer")

    def say(self, shown: Conversation, schema: Mapping[str, Any] | None = None) -> Reply:
        """The model's next reply.

        Args:
            shown: the conversation so far; its ``model`` is the session's. With ``stream`` the
                reply is asked for as a stream, which a service need not hold back to its end.
            schema: JSON schema of the reply, named by ``shown.schema_name``.

        Raises:
            ChatError: there is no reply, even after the gateway's retries, or it cannot be read.
        """
        while True:
            try:
                return self._create(replace(shown, schema=schema))
            except ChatError:
                if not shown.stream or not self._can_be_repeated:
                    raise
