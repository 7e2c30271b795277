"""Where a call goes, what has its key, and how its body is named, by kind of service."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.gateway.addresses import (
    KINDS,
    VERTEX_VERSION,
    address,
    fitted_body,
    is_place,
    key_headers,
    protocols_of,
    why_no_address,
)
from harnesses.protocols.base import ProtocolName

H = "https://h.example"


@pytest.mark.parametrize(
    ("kind", "protocols", "base_url", "login", "headers"),
    [
        ("openai", {"responses", "chat"}, "https://api.openai.com", "",
         {"authorization": "Bearer k"}),
        ("azure-openai", {"responses", "chat"}, "", "", {"api-key": "k"}),
        ("anthropic", {"messages"}, "https://api.anthropic.com", "", {"x-api-key": "k"}),
        ("openai-compatible", {"chat"}, "", "", {"authorization": "Bearer k"}),
        ("bedrock", {"chat"}, "", "aws", {"authorization": "Bearer k"}),
        ("vertex", {"chat"}, "", "google", {"authorization": "Bearer k"}),
    ],
)  # fmt: skip
def test_each_kind_of_service(
    kind: str, protocols: set[ProtocolName], base_url: str, login: str, headers: dict[str, str]
) -> None:
    assert protocols_of(kind) == protocols_of(kind, ()) == protocols
    assert protocols_of(kind, ["messages"]) == {"messages"}
    assert (KINDS[kind].base_url, KINDS[kind].login) == (base_url, login)
    assert key_headers(kind, "k") == headers
    assert key_headers(kind, "") == {}


def test_every_kind_is_in_that_table() -> None:
    assert set(KINDS) == {
        "openai", "azure-openai", "anthropic", "openai-compatible", "bedrock", "vertex",
    }  # fmt: skip


PLACE = f"{H}/v1/projects/p/locations/l"


@pytest.mark.parametrize(
    ("kind", "base", "protocol", "options", "called"),
    [
        # The kind's own root, and another one for single protocols.
        ("openai", "", "responses", {}, "/v1/responses"),
        ("azure-openai", "", "chat", {}, "/openai/v1/chat/completions"),
        ("anthropic", "", "messages", {}, "/v1/messages"),
        ("bedrock", "", "chat", {}, "/openai/v1/chat/completions"),
        ("bedrock", "", "messages", {}, "/anthropic/v1/messages"),
        ("bedrock", "", "responses", {}, "/openai/v1/responses"),
        # A part of the root is there; something like it is not.
        ("azure-openai", "/openai", "chat", {}, "/openai/v1/chat/completions"),
        ("azure-openai", "/myopenai", "chat", {}, "/myopenai/openai/v1/chat/completions"),
        ("bedrock", "/x/anthropic", "messages", {}, "/x/anthropic/v1/messages"),
        ("openai", "/v", "chat", {}, "/v/v1/chat/completions"),
        # It is complete: a version at its end, or one before "openai" or "openapi".
        ("openai-compatible", "/v1", "chat", {}, "/v1/chat/completions"),
        ("openai-compatible", "/api/v3//", "chat", {}, "/api/v3/chat/completions"),
        ("openai-compatible", "/V12alpha", "chat", {}, "/V12alpha/chat/completions"),
        ("openai-compatible", "/v1/openai", "chat", {}, "/v1/openai/chat/completions"),
        ("openai-compatible", "/v1/a/openapi", "chat", {}, "/v1/a/openapi/chat/completions"),
        ("openai-compatible", "/v1/xopenai", "chat", {}, "/v1/xopenai/v1/chat/completions"),
        ("openai-compatible", "/openai", "chat", {}, "/openai/v1/chat/completions"),
        ("openai-compatible", "/v1/x", "chat", {}, "/v1/x/v1/chat/completions"),
        ("openai-compatible", "/av1", "chat", {}, "/av1/v1/chat/completions"),
        # An endpoint, which is the call's own then; in any case, and with a slash behind.
        ("openai-compatible", "/x/chat/completions", "chat", {}, "/x/chat/completions"),
        ("openai-compatible", "/x/Responses/", "chat", {}, "/x/chat/completions"),
        ("openai-compatible", "/x/chat/completions", "messages", {}, "/x/messages"),
        # A query stays. A version of the interface is added to it, unless it has one.
        ("openai-compatible", "/v1?a=b", "chat", {}, "/v1/chat/completions?a=b"),
        ("azure-openai", "?a=b", "chat", {"api_version": "9"},
         "/openai/deployments/m%2F1/chat/completions?a=b&api-version=9"),
        ("azure-openai", "?api-version=8", "chat", {"api_version": "9"},
         "/openai/deployments/m%2F1/chat/completions?api-version=8"),
        ("azure-openai", "?api-version=", "chat", {"api_version": "9"},
         "/openai/deployments/m%2F1/chat/completions?api-version="),
        ("azure-openai", "/x/openai/v1", "responses", {"api_version": "9"},
         "/x/openai/responses?api-version=9"),
        ("azure-openai", "/openai/deployments/d", "chat", {"api_version": "9"},
         "/openai/deployments/m%2F1/chat/completions?api-version=9"),
        ("azure-openai", "/x", "messages", {"api_version": "9"},
         "/x/openai/messages?api-version=9"),
    ],
)  # fmt: skip
def test_the_address_of_a_call(
    kind: str, base: str, protocol: ProtocolName, options: dict[str, Any], called: str
) -> None:
    assert address(kind, H + base, protocol, "m/1", **options) == H + called


@pytest.mark.parametrize(
    "behind",
    ["", "/", "/endpoints/openapi", "/endpoints/openapi/chat/completions", "/publishers/anthropic",
     "/publishers/anthropic/models", "/publishers/anthropic/models/x:rawPredict"],
)  # fmt: skip
def test_a_place_of_vertex_is_known_by_any_of_its_addresses(behind: str) -> None:
    base = PLACE + behind
    assert is_place(base) is ("completions" not in behind)
    assert address("vertex", base, "chat", "m") == f"{PLACE}/endpoints/openapi/chat/completions"
    claude = f"{PLACE}/publishers/anthropic/models/m@1%2F:"
    assert address("vertex", base, "messages", "m@1/") == f"{claude}rawPredict"
    assert address("vertex", base, "messages", "m@1/", True) == f"{claude}streamRawPredict"


@pytest.mark.parametrize("path", ["", "/v1/projects/p", "/projects//locations/l", "/locations/l"])
def test_what_names_no_project_and_location_is_no_place(path: str) -> None:
    assert not is_place(H + path)
    assert not is_place(f"{PLACE}/x"), "it has something else behind it"


@pytest.mark.parametrize(
    "query",
    ["key=x", "apikey=x", "api-key=x", "x_token=x", "access_token=", "authToken=x", "sig=x",
     "a=b&signature=x", "secret=x", "password=x", "code=x", "Credential=x"],
)  # fmt: skip
def test_an_address_has_no_secret_in_it(query: str) -> None:
    assert "has a password or a key in it" in why_no_address(f"{H}/v1?{query}")


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        (H, ""), ("http://127.0.0.1:8000/v1", ""), (f"{H}?monkey=x&tokens=1&codec=2", ""),
        (f"{H}:0", "must begin with http"), (f"{H}:1", ""), (f"{H}:65536", "is no address"),
        ("https://", "must begin with http"), ("ws://h.example", "must begin with http"),
        (f"{H}/a b", "has a space"), (f"{H}/a\\b", "has a space"), (f"{H}/#a", "has a space"),
        (f"{H}/\u200b", "has a space"), ("https://u@h.example", "has a password"),
        ("https://h.example/@x", ""),
    ],
)  # fmt: skip
def test_why_an_address_cannot_be_used(base_url: str, why: str) -> None:
    found = why_no_address(base_url)
    assert found.startswith(why) and bool(found) is bool(why)


@pytest.mark.parametrize(
    ("kind", "protocol", "body", "fitted"),
    [
        ("openai", "chat", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("azure-openai", "chat", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("openai", "chat", {"max_tokens": 5, "max_completion_tokens": 6},
         {"max_completion_tokens": 6}),
        ("openai", "chat", {"max_tokens": None}, {}),
        ("openai", "chat", {"max_tokens": 0}, {"max_completion_tokens": 0}),
        ("openai", "responses", {"max_tokens": 5}, {"max_tokens": 5}),
        ("openai-compatible", "chat", {"max_tokens": 5}, {"max_tokens": 5}),
        ("vertex", "messages", {"model": "m", "a": 1},
         {"a": 1, "anthropic_version": VERTEX_VERSION}),
        ("vertex", "messages", {}, {"anthropic_version": VERTEX_VERSION}),
        ("vertex", "chat", {"model": "m"}, {"model": "m"}),
        ("anthropic", "messages", {"model": "m"}, {"model": "m"}),
    ],
)  # fmt: skip
def test_a_body_as_its_service_wants_it(
    kind: str, protocol: ProtocolName, body: dict[str, Any], fitted: dict[str, Any]
) -> None:
    before = dict(body)
    assert fitted_body(kind, protocol, body) == fitted
    assert body == before, "the client's is recorded as it was"
