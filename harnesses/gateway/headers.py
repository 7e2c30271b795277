"""The headers that pass the gateway, in both directions: all but those that it must own.

Agents send session ids, betas and options in headers, and services answer with limits and request
ids; agents behave as usual only if they see these. The gateway owns what belongs to one connection,
what names or pays an account, and what leads a request elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_ONE_CONNECTION = frozenset(
    {
        "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers of one connection (RFC 9110, 7.6.1), or of a body as it is written on it."""
_ELSEWHERE = frozenset(
    {
        "accept-encoding", "forwarded", "origin", "range", "referer", "via",
        "x-http-method", "x-http-method-override", "x-method-override", "x-original-url",
        "x-rewrite-url",
    }
)  # fmt: skip
"""Headers that lead a request elsewhere, or that say where it came from."""
_ACCOUNT = re.compile(
    r"(^|[-_])(auth|authorization|cookie2?|credentials?|keys?|passwords?|secrets?|tokens?"
    r"|organization|org|project|workspace|account|tenant|subscription|billing|user[-_]id)($|[-_])"
    r"|^(cf|x-amz|x-envoy|x-forwarded|x-goog|x-litellm|x-ms|x-real)-",
    re.IGNORECASE,
)
"""Request headers that could name an account, or what pays for a call, or that a cloud reads as
such. Which account is used is the user's to say, and not an agent's."""
_ACCOUNT_IN_REPLY = re.compile(
    r"^set-cookie|(^|[-_])(organization|org|project|workspace|account|tenant|subscription)"
    r"($|[-_]id$)|^(cf|x-amz\w*|x-envoy|x-goog|x-litellm|x-ms|azureml)-"
)
"""Reply headers that name the account, its key or its place, which are no business of an agent."""
_OWN_IN_REPLY = frozenset(
    {
        "alt-svc", "authentication-info", "content-security-policy", "date", "link", "location",
        "nel", "report-to", "reporting-endpoints", "server", "strict-transport-security", "vary",
        "via", "www-authenticate",
    }
)  # fmt: skip
"""Reply headers about the service's address, or that this server writes itself."""
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_BYTES = 16 * 1024
"""The most bytes of one direction's headers that are passed on."""


def request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A client's headers as a service of its own protocol gets them, without any credential.

    Args:
        headers: with names in lower case.
    """
    named = _listed(headers)
    return _bounded(
        (name, value)
        for name, value in headers.items()
        if name not in _ONE_CONNECTION | _ELSEWHERE | named and not _ACCOUNT.search(name)
    )


def reply_headers(headers: Mapping[str, str], secrets: Iterable[str] = ()) -> dict[str, str]:
    """A service's headers as a client gets them.

    Args:
        headers: with names in lower case.
        secrets: values that no header may have in it.
    """
    named, hidden = _listed(headers), [secret for secret in secrets if secret]
    return _bounded(
        (name, value)
        for name, value in headers.items()
        if name not in _ONE_CONNECTION | _OWN_IN_REPLY | named
        and not name.startswith("access-control-")
        and not _ACCOUNT_IN_REPLY.search(name)
        and not any(secret in value for secret in hidden)
    )


def _listed(headers: Mapping[str, str]) -> frozenset[str]:
    """The names that ``connection`` lists, which are of one connection too."""
    return frozenset(name.strip().lower() for name in headers.get("connection", "").split(","))


def _bounded(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those that can be written, as far as there is room."""
    kept: dict[str, str] = {}
    left = _BYTES
    for name, value in headers:
        left -= len(name) + len(value) + 4
        if left < 0:
            break
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value):
            kept[name] = value
    return kept
