"""A model service does nothing outside for an agent that has no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harnesses.gateway.confinement import confined, remote_address
from harnesses.protocols.base import ProtocolError, ProtocolName

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


def test_tools_in_the_conversation_are_taken_out_too() -> None:
    """GPT-6 models get theirs from Codex in such an item, in namespaces or alone."""
    space = {"type": "namespace", "name": "n", "tools": [FUNCTION, {"type": "mcp"}]}
    item = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [space, {"type": "web_search"}],
    }
    body, out = confined("responses", {"input": [item, {"role": "user", "content": "hi"}]})
    assert out == ("tool mcp", "tool web_search")
    kept = {**space, "tools": [FUNCTION]}
    assert body["input"][0] == {**item, "tools": [kept]} and len(body["input"]) == 2
    odd = {"type": "additional_tools", "tools": "web_search"}
    assert confined("responses", {"input": [odd]})[0]["input"][0]["tools"] == []


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


SHELL = {"type": "shell"}
HOSTED = {"type": "shell", "environment": {"type": "container_auto", "network_policy": {
    "type": "allowlist", "allowed_domains": ["example.com"]}}}  # fmt: skip
LOCAL = {"type": "shell", "environment": {"type": "local"}}


@pytest.mark.parametrize(
    ("protocol", "tool", "own"),
    [
        ("responses", SHELL, True),
        ("responses", LOCAL, True),
        ("responses", HOSTED, False),
        ("responses", {"type": "shell", "environment": {"type": "container_reference"}}, False),
        ("responses", {"type": "shell", "environment": "container_auto"}, False),
        ("responses", {"type": "shell", "environment": {}}, False),
        ("responses", {"type": "code_interpreter", "container": {"type": "auto"}}, False),
        ("responses", {"type": "image_generation"}, False),
        ("responses", {"type": "functions"}, False),
        ("responses", {"name": "f"}, False),
        ("chat", {"type": "custom", "custom": {"name": "f"}}, True),
        ("chat", {"type": "builtin_function", "function": {"name": "$web_search"}}, False),
        ("messages", {"type": "custom", "name": "f"}, True),
        ("messages", {"type": "custom_server", "name": "f"}, False),
        ("messages", {"type": "memory_20250818", "name": "memory"}, True),
        ("messages", {"type": "bash_code_execution_20250825"}, False),
        ("messages", {"type": "mcp_toolset", "mcp_server_name": "x"}, False),
    ],
)
def test_a_tool_passes_by_its_type_and_its_form(
    protocol: ProtocolName, tool: dict[str, Any], own: bool
) -> None:
    body, taken = confined(protocol, {"tools": [tool]})
    assert body["tools"] == ([tool] if own else [])
    assert taken == (() if own else (f"tool {tool.get('type')}",))
    if protocol == "responses":
        group = {"type": "namespace", "name": "g", "tools": [FUNCTION, tool]}
        body, taken = confined(protocol, {"tools": [group]})
        assert body["tools"][0]["tools"] == ([FUNCTION, tool] if own else [FUNCTION])
        assert bool(taken) is not own


@pytest.mark.parametrize(
    ("protocol", "key", "value"),
    [
        ("responses", "background", True),
        ("responses", "service_tier", "priority"),
        ("chat", "service_tier", "priority"),
        ("chat", "plugins", [{"id": "web"}]),
        ("chat", "search_parameters", {"mode": "on"}),
        ("chat", "enable_search", True),
        ("chat", "models", ["a/dear-one"]),
        ("messages", "speed", "fast"),
        ("messages", "service_tier", {"a": 1}),
        ("messages", "made_up", 1),
    ],
)
def test_a_field_passes_if_it_is_known(protocol: ProtocolName, key: str, value: Any) -> None:
    body = {"model": "m", "max_tokens": 5, "temperature": 0, "service_tier": "auto"}
    if protocol == "responses":
        del body["max_tokens"]
    assert confined(protocol, body) == (body, ())
    assert confined(protocol, {**body, key: value})[1] == (key,)
    assert key == "service_tier" or confined(protocol, {**body, key: value})[0] == body


@pytest.mark.parametrize("key", ["previous_response_id", "conversation", "prompt"])
def test_a_conversation_that_the_service_keeps_is_refused(key: str) -> None:
    with pytest.raises(ProtocolError, match=f"{key}: .* send the whole conversation"):
        confined("responses", {"model": "m", "input": "hi", key: {"id": "x"}})
    assert confined("responses", {"model": "m", key: None})[0] == {"model": "m"}


@pytest.mark.parametrize(
    ("protocol", "part"),
    [
        ("responses", {"type": "input_file", "file_id": "file-1"}),
        ("responses", {"type": "input_image", "file_id": "file-1", "detail": "auto"}),
        ("chat", {"type": "file", "file": {"file_id": "file-1"}}),
        ("messages", {"type": "document", "source": {"type": "file", "file_id": "file-1"}}),
        ("messages", {"type": "container_upload", "file_id": "file-1"}),
    ],
)
def test_files_that_the_service_keeps_become_a_note(
    protocol: ProtocolName, part: dict[str, Any]
) -> None:
    text = {"type": "input_text" if protocol == "responses" else "text", "text": "hi"}
    key = "input" if protocol == "responses" else "messages"
    result = {"type": "tool_result", "tool_use_id": "1", "content": [part]}
    output = {"type": "function_call_output", "call_id": "1", "output": [part]}
    messages = [{"role": "user", "content": [text, part]}]
    messages += {"messages": [{"role": "user", "content": [result]}], "chat": [],
                 "responses": [output, {"type": "item_reference", "id": "msg_1"}]}[protocol]  # type: ignore[list-item]  # fmt: skip
    body, taken = confined(protocol, {"model": "m", key: messages})
    assert "file-1" not in json.dumps(body) and "item_reference" not in json.dumps(body)
    assert body[key][0]["content"][0] == text and len(body[key][0]["content"]) == 2
    assert f"file of the service: {part['type']}" in taken
    assert ("input: item_reference" in taken) is (protocol == "responses")
    own = {"file_data": "data:text/plain;base64,aGk=", "filename": "a.txt"}
    kept = {"type": "input_file", **own} if protocol == "responses" else {"type": "f", "file": own}
    body = {"model": "m", key: [{"role": "user", "content": [kept]}]}
    assert confined(protocol, body) == (body, ())


def test_a_choice_goes_with_its_tool() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    body = {"tools": [{"name": "f"}, search], "tool_choice": {"type": "tool", "name": "web_search"}}
    kept, taken = confined("messages", body)
    assert "tool_choice" not in kept and taken == ("tool web_search_20250305", "tool_choice")
    for choice in ("auto", {"type": "auto"}, {"type": "tool", "name": "f"}):
        assert confined("messages", {**body, "tool_choice": choice})[0]["tool_choice"] == choice
    body = {"tools": [FUNCTION, {"type": "web_search"}], "tool_choice": {"type": "web_search"}}
    assert "tool_choice" not in confined("responses", body)[0]


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


ADDRESS = "https://attacker.invalid/?leak=secret"
IMAGE = {"type": "input_image", "image_url": ADDRESS}
SOURCE = {"type": "image", "source": {"type": "url", "url": ADDRESS}}
ASKED = {"type": "function_call_output", "call_id": "1", "output": "done"}


@pytest.mark.parametrize(
    ("protocol", "items"),
    [
        # A message, and what a tool gave back, in each protocol.
        ("responses", [{"role": "user", "content": [IMAGE]}]),
        ("responses", [ASKED, {**ASKED, "output": [{"type": "input_text", "text": "x"}, IMAGE]}]),
        ("responses", [{"type": "custom_tool_call_output", "call_id": "1", "output": [IMAGE]}]),
        ("responses", [{"type": "computer_call_output", "output": IMAGE}]),
        ("responses", [{"role": "user", "content": [{"type": "input_file", "file_url": ADDRESS}]}]),
        ("messages", [{"role": "user", "content": [SOURCE]}]),
        ("messages", [{"role": "user", "content": [{"type": "tool_result", "content": [SOURCE]}]}]),
        ("messages", [{"role": "user", "content": [{**SOURCE, "type": "document"}]}]),
        ("messages", [{"role": "user", "content": [{"tool_result": [SOURCE]}]}]),
        ("chat", [{"role": "tool", "tool_call_id": "1", "content": [
            {"type": "image_url", "image_url": {"url": ADDRESS}}]}]),
        ("chat", [{"role": "user", "content": [{"type": "image_url", "image_url": ADDRESS}]}]),
        # The last of several, and the one before the last.
        ("messages", [{"role": "user", "content": "hi"}, {"role": "user", "content": [SOURCE]}]),
        ("messages", [{"role": "user", "content": [SOURCE]}, {"role": "user", "content": "hi"}]),
    ],
)  # fmt: skip
def test_an_address_is_seen_wherever_the_service_would_fetch_it(
    protocol: ProtocolName, items: list[Any]
) -> None:
    key = "input" if protocol == "responses" else "messages"
    other = "messages" if protocol == "responses" else "input"
    assert remote_address(protocol, {key: items}) == ADDRESS
    assert remote_address(protocol, {other: items}) == "", "the service does not read it there"
    plain = json.loads(json.dumps(items).replace(ADDRESS, ADDRESS.replace("https", "http")))
    assert remote_address(protocol, {key: plain}).startswith("http:")
    inline = json.loads(json.dumps(items).replace(ADDRESS, DATA))
    assert remote_address(protocol, {key: inline}) == ""


@pytest.mark.parametrize(
    ("part", "fetched"),
    [
        # What servers of open models and routers fetch besides.
        ({"type": "video_url", "video_url": {"url": ADDRESS}}, True),
        ({"type": "audio_url", "audio_url": {"url": ADDRESS}}, True),
        ({"type": "video_url", "video_url": ADDRESS}, True),
        ({"type": "input_audio", "input_audio": {"url": ADDRESS}}, True),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, False),
        ({"type": "file", "file": {"filename": "f", "file_data": ADDRESS}}, True),
        ({"type": "file", "file": {"filename": ADDRESS, "file_data": DATA}}, False),
        ({"type": "input_file", "file_data": ADDRESS}, True),
        ({"type": "image", "url": ADDRESS}, True),
        ({"type": "image", "image": ADDRESS}, True),
        ({"type": "image", "source": {"type": "url", "url": ADDRESS.upper()}}, True),
        # An address that is a text is none that is fetched.
        ({"type": "text", "text": ADDRESS}, False),
        ({"type": "document", "source": {"type": "text", "data": ADDRESS}}, False),
        ({"type": "text", "text": "x", "annotations": [{"url": ADDRESS}]}, False),
        ({"type": "tool_result", "tool_use_id": "1", "content": ADDRESS}, False),
        ({"type": "image_url", "image_url": {"url": f"see {ADDRESS}"}}, False),
    ],
)
def test_addresses_are_seen_in_whatever_a_service_may_fetch(
    part: dict[str, Any], fetched: bool
) -> None:
    found = ADDRESS if fetched else ""
    for protocol in ("chat", "messages"):
        messages = [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
        assert remote_address(protocol, {"messages": messages}).lower() == found.lower()
    assert remote_address("messages", {"system": [part], "messages": []}).lower() == found.lower()
    items = [{"role": "user", "content": [part]}]
    assert remote_address("responses", {"input": items}).lower() == found.lower()


def test_files_of_the_service_are_seen_in_a_system_prompt_too() -> None:
    part = {"type": "document", "source": {"type": "file", "file_id": "f"}}
    body, taken = confined("messages", {"system": [{"type": "text", "text": "x"}, part]})
    assert taken == ("file of the service: document",)
    assert [block["type"] for block in body["system"]] == ["text", "text"]


@pytest.mark.parametrize("tier", ["", 0, False, [], {}, "Auto", "auto "])
def test_only_the_tiers_that_are_known_pass(tier: Any) -> None:
    for protocol in ("responses", "chat", "messages"):
        body, taken = confined(protocol, {"model": "m", "service_tier": tier})
        assert (body, taken) == ({"model": "m"}, ("service_tier",))


@pytest.mark.parametrize(
    ("protocol", "tier", "kept"),
    [
        ("responses", "priority", False), ("responses", "flex", True), ("responses", None, True),
        ("chat", "default", True), ("chat", "scale", False), ("chat", "auto", True),
        ("messages", "standard_only", True), ("messages", "standard", True),
    ],
)  # fmt: skip
def test_a_service_tier_that_costs_more_is_taken_out(
    protocol: ProtocolName, tier: str | None, kept: bool
) -> None:
    body, taken = confined(protocol, {"model": "m", "service_tier": tier})
    assert ("service_tier" in body) is kept and taken == (() if kept else ("service_tier",))


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("required", True),
        ({"type": "function", "name": "f"}, True),
        ({"type": "function"}, True),
        ({"type": "web_search"}, False),
        ({"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}, True),
        ({"type": "allowed_tools", "tools": [{"type": "web_search"}]}, False),
        (
            {
                "type": "allowed_tools",
                "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
            },
            False,
        ),
    ],
)
def test_a_choice_stays_if_all_that_it_names_do(choice: Any, kept: bool) -> None:
    tools = [FUNCTION, {"type": "web_search"}]
    body, taken = confined("responses", {"tools": tools, "tool_choice": choice})
    assert ("tool_choice" in body) is kept
    assert taken == ("tool web_search",) + (() if kept else ("tool_choice",))
    # With nothing taken out a choice is the agent's, whatever it names.
    own = {"tools": [FUNCTION], "tool_choice": choice}
    assert confined("responses", own) == (own, ())


@pytest.mark.parametrize(
    ("part", "removed"),
    [
        ({"type": "input_file", "file_id": "f"}, True),
        ({"type": "input_file", "file_id": "", "file_data": DATA}, False),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, True),
        ({"type": "file", "file": {"file_id": "f"}}, True),
        ({"type": "file", "file": {"file_data": DATA}}, False),
        ({"type": "image_url", "image_url": {"file_id": "f"}}, True),
        ({"type": "input_audio", "input_audio": {"file_id": "f"}}, True),
        ({"type": "container_upload"}, True),
        ({"type": "input_text", "text": "file_id"}, False),
    ],
)
def test_a_kept_file_is_one_wherever_its_id_is(part: dict[str, Any], removed: bool) -> None:
    """The second part of a message, and inside what a tool gave back."""
    text = {"type": "input_text", "text": "hi"}
    for key in ("content", "output"):
        items = [{"role": "user", "content": "hi"}, {key: [text, part]}]
        body, taken = confined("responses", {"input": items})
        assert body["input"][1][key][0] == text
        assert (body["input"][1][key][1] != part) is removed and bool(taken) is removed
        assert body["input"][0] == items[0]


@pytest.mark.parametrize("items", [["text", 7], [None], [["x"]]])
def test_what_is_no_item_is_the_services_to_refuse(items: list[Any]) -> None:
    assert confined("responses", {"input": items}) == ({"input": items}, ())
    assert confined("messages", {"messages": [{"content": items}]})[1] == ()
