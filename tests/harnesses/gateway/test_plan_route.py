"""What is left out of a request for a ChatGPT plan, and what is put where its route takes it."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.gateway.plan_route import UNSUPPORTED, on_chatgpt_plan
from harnesses.gateway.translation import translate
from harnesses.gateway.upstreams import Call
from harnesses.protocols.base import Conversation, GenerationOptions, Message, ProtocolName, Tool
from harnesses.protocols.registry import CODECS, PATHS
from tests.services.plans import REFUSED, unsupported
from tests.services.wire import Asked

FUNCTION = {"type": "function", "name": "run", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "name": "apply_patch"}
SPACE = {"type": "namespace", "name": "files", "tools": [FUNCTION]}
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def adapted(**body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    call = Call("responses", "/v1/responses", {"model": "m", **body}, {"accept": "*/*"}, 1)
    found, lost = on_chatgpt_plan(call)
    assert found.headers == {}
    assert unsupported(Asked("responses", dict(found.body), 1)) == ""
    return dict(found.body), lost


def test_every_field_that_the_vendor_refuses_is_left_out() -> None:
    assert REFUSED <= UNSUPPORTED
    given: dict[str, Any] = dict.fromkeys(sorted(REFUSED), "x")
    body, lost = adapted(input="hi", **given)
    assert set(lost) == REFUSED and set(body) == {"model", "input", "store", "stream"}
    assert body["input"] == [USER]


@pytest.mark.parametrize("value", [0, 0.0, False, "", [], {}, 1, "x"])
def test_what_is_left_out_is_named_whatever_its_value(value: Any) -> None:
    body, lost = adapted(input=[USER], temperature=value, top_p=value)
    assert lost == ("temperature", "top_p") and not {"temperature", "top_p"} & set(body)


def test_what_is_none_was_not_asked_for() -> None:
    assert adapted(input=[USER], metadata=None, user=None)[1] == ()


def test_tools_go_where_the_route_takes_them() -> None:
    body, lost = adapted(input=[USER], tools=[FUNCTION, SPACE, CUSTOM, {"type": "tool_search"}])
    head, user = body["input"]
    assert head == {"type": "additional_tools", "role": "developer", "tools": [FUNCTION, CUSTOM]}
    assert (user, body["tools"], lost) == (USER, [SPACE], ("tool tool_search",))


@pytest.mark.parametrize(
    ("tools", "items", "kept", "lost"),
    [
        ([{"type": "tool_search"}], 1, None, ("tool tool_search",)), ([], 1, None, ()),
        ([SPACE], 1, [SPACE], ()), ([FUNCTION], 2, None, ()),
        ([7, {"x": 1}], 1, None, ("tool None", "tool None")),
    ],
)  # fmt: skip
def test_what_is_left_of_the_tools(
    tools: Any, items: int, kept: Any, lost: tuple[str, ...]
) -> None:
    body, out = adapted(input=[USER], tools=tools)
    assert (len(body["input"]), body.get("tools"), out) == (items, kept, lost)


@pytest.mark.parametrize(("given", "items"), [("hi", [USER]), ([7, USER], [7, USER]), (None, [])])
def test_a_conversation_of_any_form(given: Any, items: list[Any]) -> None:
    assert adapted(input=given)[0]["input"] == items


def test_a_request_in_that_form_stays_as_it_is() -> None:
    head = {"type": "additional_tools", "role": "developer", "tools": [SPACE, CUSTOM]}
    given = {"input": [head, USER], "store": False, "stream": True, "tool_choice": "auto",
             "reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"],
             "text": {"verbosity": "low"}, "parallel_tool_calls": False}  # fmt: skip
    assert adapted(**given) == ({"model": "m", **given}, ())


def test_system_items_become_the_developers() -> None:
    body, _ = adapted(input=[{"role": "system", "content": "be brief"}, USER])
    assert body["input"][0] == {"role": "developer", "content": "be brief"}


def test_a_tool_cannot_be_named() -> None:
    choice = {"type": "function", "name": "run"}
    body, lost = adapted(input=[USER], tools=[FUNCTION], tool_choice=choice)
    assert "tool_choice" not in body and lost == ("tool_choice",)


@pytest.mark.parametrize("client", ["chat", "messages"])
def test_the_other_protocols_are_translated_into_it(client: ProtocolName) -> None:
    tools = (Tool("run", "Runs.", {"type": "object", "properties": {}}),)
    options = GenerationOptions(max_tokens=100, temperature=0.5)
    messages = (Message("system", "Be brief."), Message("user", "hi"))
    shown = Conversation("m", messages, tools, options=options)
    path = next(path for path, name in PATHS.items() if name == client)
    call = Call(client, path, CODECS[client].write_request(shown), {}, 1)
    other = translate(call, "responses", {}, {})
    body, lost = adapted(**{k: v for k, v in other.call.body.items() if k != "model"})
    assert {"max_output_tokens", "temperature"} <= set(lost)
    assert body["input"][0]["tools"][0]["name"] == "run" and "Be brief." in str(body)
