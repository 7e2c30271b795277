"""Where a model call goes, by kind of service: the address, the header of the key, the body.

Of an address nothing but what a service's own pages give has to be known: see :func:`address`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from harnesses.protocols.base import ProtocolName

ENDPOINTS: dict[ProtocolName, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "messages": "/messages",
}
ANTHROPIC_VERSION = "2023-06-01"
"""The version of Messages that every service of it knows, for a header."""
VERTEX_VERSION = "vertex-2023-10-16"
"""What Vertex wants in the body of a request for Claude, in place of a header."""

_ENDPOINT = re.compile(rf"({'|'.join(ENDPOINTS.values())})$", re.IGNORECASE)
_COMPLETE = re.compile(r"/v\d+\w*$|/v\d+\w*/(.*/)?open(ai|api)$", re.IGNORECASE)
_SECRET = re.compile(
    r"(^|[-_]|api|access|auth)(key|token|sig|signature|secret|password|code|credential)$",
    re.IGNORECASE,
)
"""Names of a query's values that are secrets."""
_VERTEX_MODEL = re.compile(r"/(endpoints/openapi|publishers/anthropic(/models(/[^/]*)?)?)$")
_PLACE = re.compile(r"/projects/[^/]+/locations/[^/]+$")


@dataclass(frozen=True)
class ServiceKind:
    """A kind of model service.

    Args:
        protocols: that its services speak unless their config names others.
        root: what stands between an address and an endpoint.
        roots: the same for single protocols.
        key_header: header that has the key; empty for ``authorization: Bearer``.
        base_url: the address if the config gives none; empty if it has to.
        login: what a service without ``key_env`` is called with: ``aws`` for a signature,
            ``google`` for a token of a Google account; empty for nothing.
    """

    protocols: frozenset[ProtocolName]
    root: str = "/v1"
    roots: Mapping[ProtocolName, str] = field(default_factory=dict)
    key_header: str = ""
    base_url: str = ""
    login: str = ""


_OPENAI: frozenset[ProtocolName] = frozenset({"responses", "chat"})
_CHAT: frozenset[ProtocolName] = frozenset({"chat"})

KINDS: dict[str, ServiceKind] = {
    "openai": ServiceKind(_OPENAI, base_url="https://api.openai.com"),
    "azure-openai": ServiceKind(_OPENAI, "/openai/v1", key_header="api-key"),
    "anthropic": ServiceKind(
        frozenset({"messages"}), key_header="x-api-key", base_url="https://api.anthropic.com"
    ),
    "openai-compatible": ServiceKind(_CHAT),
    "bedrock": ServiceKind(_CHAT, "/openai/v1", {"messages": "/anthropic/v1"}, login="aws"),
    "vertex": ServiceKind(_CHAT, "/endpoints/openapi", login="google"),
}


def protocols_of(kind: str, given: Sequence[ProtocolName] = ()) -> frozenset[ProtocolName]:
    """The protocols of an upstream of this kind, unless its config names others."""
    return frozenset(given) or KINDS[kind].protocols


def why_no_address(base_url: str) -> str:
    """Why a ``base_url`` cannot be used, without its text, which may have a secret in it; empty if
    it can."""
    try:
        parts = urlsplit(base_url)
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # UnicodeError too.
        return "is no address: its host or port is not one"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return "must begin with http:// or https:// and a host"
    if not base_url.isprintable() or re.search(r"[\s\\#]", base_url):
        return "has a space, a backslash, or a '#' in it; remove it"
    if "@" in parts.netloc or any(map(_SECRET.search, dict(parse_qsl(parts.query, True)))):
        return (
            "has a password or a key in it, which a config is not for; remove it, and name the "
            "environment variable that contains the key in key_env"
        )
    return ""


def is_place(base_url: str) -> bool:
    """Whether an address names a project and a location of Vertex, as that service's has to."""
    return bool(_PLACE.search(_vertex_place(urlsplit(base_url).path)))


def address(
    kind: str,
    base_url: str,
    protocol: ProtocolName,
    model: str,
    stream: bool = False,
    api_version: str = "",
) -> str:
    """The whole address of a call.

    ``base_url`` is complete if it ends in a version (``/v1``, ``/api/v3``), in ``/openai`` or
    ``/openapi`` somewhere after one, or in an endpoint (``/chat/completions``), which is replaced
    by the call's own. To any other the kind's root is added, such as ``/v1``. A query is kept.

    Args:
        kind: of the service, from :data:`KINDS`.
        base_url: from the config, or the kind's.
        protocol: of the call.
        model: which some services have in the address.
        stream: whether the reply is asked for as a stream.
        api_version: of Azure's dated interface; empty for its other one.
    """
    scheme, host, path, query, _ = urlsplit(base_url)
    path = path.rstrip("/")
    given = _ENDPOINT.search(path)
    path = path[: given.start()] if given else path
    if kind == "vertex":
        path = _vertex(_vertex_place(path), protocol, model, stream)
    elif given:
        path += ENDPOINTS[protocol]
    elif api_version:
        path = re.sub(r"/openai(/v1|/deployments/[^/]+)?$", "", path) + "/openai"
        if protocol == "chat":  # The dated interface has the deployment in its address.
            path += f"/deployments/{quote(model, safe='')}"
        path += ENDPOINTS[protocol]
    else:
        service = KINDS[kind]
        root = service.roots.get(protocol, service.root)
        path = _completed(path, root) + ENDPOINTS[protocol]
    if api_version and "api-version" not in dict(parse_qsl(query, keep_blank_values=True)):
        query = "&".join(filter(None, (query, urlencode({"api-version": api_version}))))
    return urlunsplit((scheme, host, path, query, ""))


def _completed(path: str, root: str) -> str:
    """A path with its root, of which it may have a part already."""
    if _COMPLETE.search(path):
        return path
    first, slash, rest = root[1:].partition("/")
    if slash and path.endswith(f"/{first}"):
        return f"{path}/{rest}"
    return path + root


def _vertex_place(path: str) -> str:
    return _VERTEX_MODEL.sub("", path.rstrip("/"))


def _vertex(place: str, protocol: ProtocolName, model: str, stream: bool) -> str:
    """The path of a call to Vertex, which has Claude and all other models at different places."""
    if protocol != "messages":
        return f"{place}/endpoints/openapi{ENDPOINTS[protocol]}"
    verb = "streamRawPredict" if stream else "rawPredict"
    return f"{place}/publishers/anthropic/models/{quote(model, safe='@')}:{verb}"


def key_headers(kind: str, key: str) -> dict[str, str]:
    """The header that has the key; none without a key."""
    name = KINDS[kind].key_header
    if not key:
        return {}
    return {name: key} if name else {"authorization": f"Bearer {key}"}


def fitted_body(kind: str, protocol: ProtocolName, body: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body as a kind of service wants it. No more is changed than what it renamed."""
    fitted = dict(body)
    if protocol == "chat" and kind in ("openai", "azure-openai"):
        limit = fitted.pop("max_tokens", None)
        if limit is not None:
            fitted.setdefault("max_completion_tokens", limit)
    if protocol == "messages" and kind == "vertex":
        fitted.pop("model", None)
        fitted["anthropic_version"] = VERTEX_VERSION
    return fitted
