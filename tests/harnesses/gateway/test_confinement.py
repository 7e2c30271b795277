"""A model service does nothing outside for an agent that has no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harnesses.gateway.confinement import confined, remote_address
from harnesses.protocols.base import ProtocolName

RECORDED = Path(__file__).parents[1] / "recorded"
DATA = "data:image/png;base64,AAAA"
FUNCTION = {"type": "function", "name": "f", "parameters": {}}


@pytest.mark.parametrize(
    ("protocol", "tools", "taken"),
    [
        ("responses", [FUNCTION, {"type": "web_search"}], ("tool web_search",)),
        ("responses", [{"type": "mcp", "server_url": "https://x"}], ("tool mcp",)),
        ("responses", [{"type": "custom", "name": "p"}, {"type": "tool_search"}], ()),
        ("messages", [{"name": "Bash"}, {"type": "bash_20250124", "name": "bash"}], ()),
        ("messages", [{"type": "web_fetch_20250910"}], ("tool web_fetch_20250910",)),
        ("messages", [{"type": "code_execution_20250825"}], ("tool code_execution_20250825",)),
        ("chat", [FUNCTION, {"type": "web_search_preview"}], ("tool web_search_preview",)),
        ("chat", [7], ()),
    ],
)
def test_tools_that_the_service_would_run_are_taken_out(
    protocol: ProtocolName, tools: list[Any], taken: tuple[str, ...]
) -> None:
    body, out = confined(protocol, {"model": "m", "tools": tools})
    assert out == taken and body["model"] == "m"
    assert len(body["tools"]) == len(tools) - len(taken)


def test_fields_that_let_it_work_outside_too() -> None:
    assert confined("chat", {"web_search_options": {}, "n": 1}) == (
        {"n": 1},
        ("web_search_options",),
    )
    body = {"mcp_servers": [{"url": "https://x"}], "container": "c", "stop": "s"}
    assert confined("messages", body) == ({"stop": "s"}, ("mcp_servers", "container"))


@pytest.mark.parametrize(
    ("name", "protocol", "gone"),
    [("codex.json", "responses", ("tool web_search",)), ("claude-code.json", "messages", ())],
)
def test_what_the_real_programs_ask_is_passed_on_but_for_that(
    name: str, protocol: ProtocolName, gone: tuple[str, ...]
) -> None:
    body = json.loads((RECORDED / name).read_text())
    kept, taken = confined(protocol, body)
    assert taken == gone and set(kept) == set(body)
    assert remote_address(protocol, body) == ""


def image(url: str) -> dict[ProtocolName, dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": url}}
    source = {"type": "image", "source": {"type": "url", "url": url}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [source]}
    return {
        "responses": {
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]
        },
        "chat": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]},
        "messages": {"messages": [{"role": "user", "content": [result]}]},
    }


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
def test_addresses_that_it_would_fetch_are_seen(protocol: ProtocolName) -> None:
    address = "HTTPS://attacker.invalid/?leak=secret"
    assert remote_address(protocol, image(address)[protocol]) == address
    assert remote_address(protocol, image(DATA)[protocol]) == ""
    files = {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": address}]}]}
    assert remote_address("responses", files) == address


def test_what_a_tool_was_called_with_is_the_agents_business() -> None:
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {"image_url": "https://x"}}
    assert (
        remote_address("messages", {"messages": [{"role": "assistant", "content": [call]}]}) == ""
    )
    for odd in (None, 7, "text", [[None]], {"content": "https://x"}):
        assert remote_address("chat", {"messages": odd}) == ""
