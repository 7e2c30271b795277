"""Headers pass the gateway in both directions, but for those that it must own."""

from __future__ import annotations

import pytest

from harnesses.gateway.headers import reply_headers, request_headers

OF_AGENTS = {
    "accept": "application/json",
    "anthropic-beta": "claude-code-20250219,oauth-2025-04-20",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "openai-beta": "responses=v1",
    "originator": "codex_exec",
    "session-id": "1",
    "user-agent": "claude-cli/2.1.332 (external, sdk-cli)",
    "x-app": "cli",
    "x-claude-code-agent-id": "a",
    "x-claude-code-session-id": "040aee0e",
    "x-codex-turn-metadata": "{}",
    "x-openai-internal-codex-responses-lite": "true",
    "x-openai-subagent": "review",
    "x-parent-session-id": "p",
    "x-session-id": "s",
    "x-stainless-retry-count": "0",
}
"""What Claude Code 2.1.332, Codex 0.171.0 and OpenCode send besides what is the gateway's."""


def test_what_agents_send_passes() -> None:
    assert request_headers(OF_AGENTS) == OF_AGENTS


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-auth-token",
        "ocp-apim-subscription-key", "proxy-authorization", "helicone-auth", "x-amz-security-token",
        "openai-organization", "openai-project", "chatgpt-account-id", "anthropic-workspace-id",
        "x-goog-user-project", "x-amzn-bedrock-guardrail-account", "idempotency-key",
        "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "expect",
        "accept-encoding", "content-encoding", "content-type", "forwarded", "x-forwarded-for",
        "x-real-ip", "via", "referer", "origin", "x-http-method-override", "x-original-url",
        "x-litellm-tags", "x-ms-region", "cf-connecting-ip",
    ],
)  # fmt: skip
def test_what_could_pay_lead_or_break_is_the_gateways(name: str) -> None:
    assert request_headers({name: "x", "anthropic-beta": "b"}) == {"anthropic-beta": "b"}


def test_what_the_connection_lists_stays_on_it() -> None:
    headers = {"connection": "keep-alive, X-Private", "x-private": "1", "x-app": "cli"}
    assert request_headers(headers) == {"x-app": "cli"}
    assert reply_headers(headers) == {"x-app": "cli"}


OF_SERVICES = {
    "anthropic-ratelimit-unified-5h-reset": "1800000000",
    "anthropic-ratelimit-unified-status": "rejected",
    "openai-model": "gpt-6",
    "openai-processing-ms": "10",
    "openai-version": "2020-10-01",
    "request-id": "req_1",
    "retry-after": "30",
    "x-codex-plan-type": "plus",
    "x-codex-primary-used-percent": "12",
    "x-ratelimit-remaining-tokens": "100",
    "x-request-id": "req_2",
    "x-should-retry": "false",
}


def test_what_services_tell_of_limits_passes() -> None:
    assert reply_headers(OF_SERVICES) == OF_SERVICES


@pytest.mark.parametrize(
    "name",
    [
        "openai-organization", "openai-project", "anthropic-organization-id", "set-cookie",
        "x-amzn-requestid", "x-ms-region", "azureml-model-session", "x-litellm-key-alias", "cf-ray",
        "server", "date", "via", "location", "www-authenticate", "strict-transport-security",
        "alt-svc", "content-length", "content-encoding", "transfer-encoding", "connection",
        "access-control-allow-origin", "report-to",
    ],
)  # fmt: skip
def test_what_names_the_account_or_its_place_stays_here(name: str) -> None:
    assert reply_headers({name: "x", "retry-after": "1"}) == {"retry-after": "1"}


def test_a_header_with_the_key_stays_here() -> None:
    found = reply_headers({"x-echo": "Bearer sk-secret!", "x-app": "a"}, ["sk-secret", ""])
    assert found == {"x-app": "a"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-a", "a\nx-b: c"), ("x-a", "\xe4"), ("x a", "b"), ("x-a", " "), ("", "b")],
)
def test_what_cannot_be_written_is_left_out(name: str, value: str) -> None:
    assert request_headers({name: value}) == reply_headers({name: value}) == {}


def test_no_more_passes_than_there_is_room_for() -> None:
    many = {f"x-h{number}": "v" * 1000 for number in range(100)}
    assert 10 < len(reply_headers(many)) < 20


@pytest.mark.parametrize("more", [0, 1])
def test_room_is_counted_with_what_stands_between(more: int) -> None:
    """Four bytes for each header, up to 16 KiB."""
    one = {"x-a": "v" * (16 * 1024 - 3 - 4 - 2 * (3 + 1 + 4) + more)}
    assert len(request_headers(one | {"x-b": "b", "x-c": "c"})) == 3 - more
    assert len(reply_headers(one | {"x-b": "b", "x-c": "c"})) == 3 - more


def test_what_cannot_be_written_takes_room_and_ends_nothing() -> None:
    assert request_headers({"x a": "b", "x-b": "c"}) == {"x-b": "c"}
    assert reply_headers({"x-a": "tab\tin it", "x-b": "a b"}) == {"x-a": "tab\tin it", "x-b": "a b"}
