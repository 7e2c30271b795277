"""Sign in with ChatGPT: a plan's use for open-source apps that run on the user's own machine.

The protocol is that of developers.openai.com/siwc/token-sharing-open-source (pages sign-in,
profiles-and-sessions, token-reference; read 2026-10), by the package ``chatgpt-plan-auth`` (extra
``chatgpt``): an authorization code with PKCE in the browser, back to a loopback address, for a
client that is registered for this machine. An access token is valid for an hour; each refresh token
once. Only this process has them: no sandbox, no file but that of the vault.
"""

from __future__ import annotations

import asyncio
import html
import http.server
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from harnesses.accounts.vault import (
    AccountError,
    AccountUnreachableError,
    Vault,
    config_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatgpt_plan_auth import AuthorizationRequest, ChatGPTCredentials

T = TypeVar("T")

NAME = "chatgpt"
APP = "SkillOpt"
"""The name under which ChatGPT's settings list this app."""
REVOKE_URL = "https://auth.openai.com/api/accounts/oauth/revoke"
"""``revocation_endpoint`` of auth.openai.com/.well-known/openid-configuration."""
AGAIN = "run 'skillopt login chatgpt' again"
_TIMEOUT_S = 30.0
_PAGE = """\
<!doctype html><meta charset="utf-8"><title>SkillOpt</title>
<p style="font-family: sans-serif; margin: 3em">{text}</p>
"""


def _package() -> Any:
    try:
        import chatgpt_plan_auth
    except ImportError as error:
        raise AccountError(
            "signing in with ChatGPT needs an extra: pip install 'skillopt-harness[chatgpt]'"
        ) from error
    return chatgpt_plan_auth


@dataclass(frozen=True)
class SignedIn:
    """What is known of a sign-in without asking the vendor.

    Args:
        email: of the account; empty if it is not known.
        expires_at: when the access token ends, in seconds since the epoch; it is renewed then.
        place: where it is kept, in words.
        problem: why it cannot be used; empty if it can.
    """

    email: str
    expires_at: float
    place: str
    problem: str = ""


@dataclass
class ChatGptAccount:
    """The sign-in of this user on this machine, and the source of its access tokens.

    Args:
        vault: where it is kept; by default the keyring, or a file in the user's config folder.
    """

    vault: Vault = field(default_factory=lambda: Vault(NAME, config_folder()))
    _known: ChatGPTCredentials | None = field(default=None, repr=False)

    def state(self) -> SignedIn | None:
        """The sign-in; None if nobody is signed in. Raises AccountError if it cannot be read."""
        kept = self.vault.read() or {}
        if "credentials" not in kept:
            return None
        credentials = self._credentials(kept)
        problem = str(kept.get("ended", ""))
        if not problem and _package().PLAN_SCOPE not in credentials.scopes:
            problem = "the use of the plan was not allowed"
        return SignedIn(
            credentials.email or "",
            credentials.expires_at.timestamp(),
            self.vault.place(),
            problem,
        )

    def begin(self) -> AuthorizationRequest:
        """The request that the user's browser makes to sign in, which may be done later. Raises
        AccountError if nothing could be kept of it."""
        package = _package()
        with self.vault.lock():
            kept = self._kept_or_nothing()
        # Once signed in with, it stays the same for this machine, whoever signs in and out.
        host = kept.get("host_id") or package.create_ext_agent_host_id()
        request: AuthorizationRequest = package.create_authorization_request(
            client_id=kept.get("client_id"), ext_agent_host_id=host, agent_name_hint=APP
        )
        return request

    def finish(self, request: AuthorizationRequest, callback: str) -> SignedIn:
        """Sign in with the address that the browser was led back to.

        Args:
            request: of :meth:`begin`.
            callback: the whole address.

        Raises:
            AccountError: it was declined, is for another request, or the plan may not be used.
        """
        package = _package()
        told = package.parse_callback_url(callback)
        if told.get("state") != request.state:
            raise AccountError("the address is not of this sign-in (its state differs): try again")
        if "error" in told or not told.get("code"):
            why = told.get("error_description") or told.get("error") or "it has no code"
            raise AccountError(f"ChatGPT did not sign in: {why[:300]}")
        issued = told.get("client_id") or (None if request.registration else request.client_id)
        if not issued or not issued.startswith(_prefix()):
            raise AccountError("ChatGPT registered no client for this machine: try again")

        async def exchanged(client: Any) -> ChatGPTCredentials:
            found: ChatGPTCredentials = await package.async_exchange_code(
                client, told["code"], request=request,
                callback_client_id=issued, callback_state=told["state"],
            )  # fmt: skip
            return found

        with self.vault.lock():
            self._keep(_run(exchanged))
        state = self.state()
        assert state is not None, "it has just been kept"
        if state.problem:
            raise AccountError(
                f"{state.problem}: sign in again and allow it, or use an API key (key_env)"
            )
        return state

    def end(self) -> str:
        """Sign out: the vendor is asked to revoke the sign-in, and its tokens are removed from this
        machine in any case. What could not be done, in words; empty if all is done."""
        with self.vault.lock():
            kept = self.vault.read() or {}
            values = kept.get("credentials") or {}
            known = {"host_id", "client_id"}
            self.vault.write({key: kept[key] for key in known if key in kept})
            self._known = None
        if not values.get("refresh_token"):
            return ""

        async def revoked(client: Any) -> int:
            form = {
                "token": values["refresh_token"],
                "token_type_hint": "refresh_token",
                "client_id": values.get("client_id", ""),
            }
            answer = await client.post(REVOKE_URL, data=form, timeout=_TIMEOUT_S)
            return int(answer.status_code)

        import httpx2

        try:
            status = _run(revoked)
        except httpx2.HTTPError as error:
            return f"the vendor did not answer ({type(error).__name__})"
        return "" if status < 300 else f"the vendor answered with status {status}"

    async def token(self) -> str:
        """An access token that is valid for some minutes at least.

        Raises:
            AccountError: nobody is signed in, or not any more.
            AccountUnreachableError: it must be renewed, and the vendor did not answer.
        """
        known = self._known
        if known is not None and not _ends_soon(known):
            return known.access_token
        return await asyncio.to_thread(self._renewed, None)

    async def renewed(self, refused: str) -> str:
        """Another access token, in place of one that the service has refused; errors as
        :meth:`token`. If another process has renewed it meanwhile, that one."""
        # In a thread, which goes on if the call is cancelled: a new refresh token is never lost.
        return await asyncio.to_thread(self._renewed, refused)

    def _renewed(self, refused: str | None) -> str:
        package = _package()
        with self.vault.lock():
            kept = self.vault.read() or {}
            if "credentials" not in kept:
                raise AccountError("nobody is signed in with ChatGPT: run 'skillopt login chatgpt'")
            if kept.get("ended"):
                raise AccountError(f"ChatGPT: {kept['ended']}: {AGAIN}")
            credentials = self._credentials(kept)
            if credentials.access_token == refused or _ends_soon(credentials):
                credentials = self._renew(package, credentials, refused)
            self._known = credentials
        if credentials.access_token == refused:
            raise AccountError(f"ChatGPT refused a valid token, and renews it only later: {AGAIN}")
        if package.PLAN_SCOPE not in credentials.scopes:
            raise AccountError(f"the use of the ChatGPT plan was not allowed: {AGAIN}")
        return credentials.access_token

    def _renew(
        self, package: Any, credentials: ChatGPTCredentials, refused: str | None
    ) -> ChatGPTCredentials:
        """Renew a sign-in, whose lock is held. The new one is kept before anything uses it."""

        async def renewed(client: Any) -> ChatGPTCredentials:
            auth = package.ChatGPTAuth(credentials, client=client, on_update=self._keep)
            if refused is None:
                await auth.async_get_access_token()
            else:
                await auth.async_handle_authentication_error()
            found: ChatGPTCredentials = auth.credentials
            return found

        try:
            return _run(renewed)
        except AccountUnreachableError:
            raise
        except AccountError as error:
            kept = self.vault.read() or {}
            self.vault.write({**kept, "ended": "the sign-in has ended"})
            raise AccountError(f"ChatGPT: the sign-in has ended ({error}): {AGAIN}") from error

    def _keep(self, credentials: ChatGPTCredentials) -> None:
        kept = self._kept_or_nothing()
        kept.pop("ended", None)
        self.vault.write(
            {
                **kept,
                "host_id": credentials.ext_agent_host_id or kept.get("host_id"),
                "client_id": credentials.client_id,
                "credentials": credentials.as_entry_data(),
            }
        )
        self._known = credentials

    def _kept_or_nothing(self) -> dict[str, Any]:
        """What is kept, for a new sign-in, which takes the place of one that cannot be read."""
        try:
            return self.vault.read() or {}
        except AccountError:
            return {}

    def _credentials(self, kept: Mapping[str, Any]) -> ChatGPTCredentials:
        try:
            found: ChatGPTCredentials = _package().ChatGPTCredentials.from_entry_data(
                kept["credentials"]
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise AccountError(f"the ChatGPT sign-in that is kept is damaged: {AGAIN}") from error
        return found


def _prefix() -> str:
    from chatgpt_plan_auth.const import CLIENT_ID_PREFIX

    return CLIENT_ID_PREFIX


def _ends_soon(credentials: ChatGPTCredentials) -> bool:
    """Whether the package would renew it, which it decides by the same times."""
    from chatgpt_plan_auth.const import TOKEN_EXPIRY_MARGIN

    earliest = credentials.earliest_refresh_at
    if earliest is not None and time.time() < earliest.timestamp():
        return False
    return time.time() >= (credentials.expires_at - TOKEN_EXPIRY_MARGIN).timestamp()


def _run(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run some work with a client of its own; the package's errors become ours."""
    from chatgpt_plan_auth.errors import ChatGPTPlanAuthError, ChatGPTPlanAuthFatalError

    async def running() -> T:
        import httpx2

        async with httpx2.AsyncClient(follow_redirects=False) as client:
            return await work(client)

    try:
        return asyncio.run(running())
    except ChatGPTPlanAuthFatalError as error:
        raise AccountError(str(error)) from error
    except ChatGPTPlanAuthError as error:
        raise AccountUnreachableError(f"ChatGPT: {error}") from error


class Callback:
    """The loopback address that the browser is led back to. Serves while it is entered.

    Args:
        request: whose answer it waits for. Its address gets another port if that one is taken.
    """

    def __init__(self, request: AuthorizationRequest) -> None:
        self._request = request
        self._came = threading.Event()
        self._url = ""

    @contextmanager
    def serving(self) -> Iterator[Callback]:
        """Listen; raises AccountError if no port is free."""
        place = urlsplit(self._request.redirect_uri)
        came, callback = self._came, self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                told = _package().parse_callback_url(self.path)
                mine = asked.path == place.path and told.get("state") == callback._request.state
                text = "Signed in. You can close this page." if mine else "Nothing to see here."
                if mine and "error" in told:
                    text = f"Not signed in: {html.escape(told['error'][:200])}"
                body = _PAGE.format(text=text).encode()
                self.send_response(200 if mine else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(body)
                if mine and not came.is_set():
                    callback._url = f"http://127.0.0.1{self.path}"
                    came.set()

            def log_message(self, *args: object) -> None:
                """Nothing: the address has a code in it."""

        server: http.server.HTTPServer | None = None
        for port in (place.port or 0, 0):
            with suppress(OSError):
                server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
                break
        if server is None:
            raise AccountError("no port of 127.0.0.1 is free for the browser to come back to")
        # Only the port may differ between two sign-ins (page sign-in).
        address = f"http://127.0.0.1:{server.server_address[1]}{place.path}"
        old, new = quote(self._request.redirect_uri, safe=""), quote(address, safe="")
        self._request.url = self._request.url.replace(old, new)
        self._request.redirect_uri = address
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)

    def wait(self, seconds: float) -> str:
        """The address that the browser came to; empty if it did not in time."""
        return self._url if self._came.wait(seconds) else ""
