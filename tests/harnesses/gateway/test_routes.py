"""What a call becomes on its way to its service, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import ModelSpec, Usage
from harnesses.gateway import session as sessions
from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.exchange import MAIN, Exchange, Route, estimated, unanswered
from harnesses.gateway.plan_upstreams import ProgramToken
from harnesses.gateway.routes import passing, route_of
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import Answer, Call
from harnesses.gateway.wire import WIRE, read_wire
from harnesses.protocols.base import ProtocolError, ProtocolName, Reply, ToolCall
from harnesses.scrubbing import Scrubber

USER = [{"role": "user", "content": "hi"}]
SEARCH = {"type": "web_search", "name": "search"}


class Upstream:
    max_concurrency = 1

    def __init__(self, *protocols: ProtocolName) -> None:
        self.protocols = frozenset(protocols)


def session(login: ProgramToken | None = None, record: Path | None = None, **grant: Any) -> Session:
    sampling = {"temperature": 0.1, "stream": True}
    given = Grant(ModelSpec("up", "m", sampling), 7, record, silence_s=9.0, **grant)
    return Session("t", given, lambda token: None, Path("s"), login=login, part=3)


def route(upstream: Any, body: Any, opened: Session, protocol: ProtocolName = "chat") -> Route:
    return route_of(opened, upstream, protocol, body, {"x-app": "cli"})


def test_a_call_in_the_services_protocol_keeps_its_headers_and_gets_the_sampling() -> None:
    opened = session()
    body = {"model": "m", "messages": USER, "temperature": 1, "web_search_options": {}}
    found = route(Upstream("chat", "messages"), body, opened)
    sent = {"model": "m", "messages": USER, "temperature": 0.1}
    call = Call("chat", "/v1/chat/completions", sent, {"x-app": "cli"}, 7, 9.0)
    assert found.call == found.sent == call
    assert (found.part, found.taken_out) == (3, ("web_search_options",))
    assert found.translated is None and found.adapt is None and found.ids is opened.call_ids
    assert not found.streamed and replace(found, call=replace(call, body={"stream": 1})).streamed
    outside = route(Upstream("chat"), body, session(outside=True))
    assert outside.call.body["web_search_options"] == {} and outside.taken_out == ()


def test_a_call_in_another_protocol_is_recorded_as_the_client_made_it() -> None:
    body = {"model": "m", "messages": USER, "temperature": 1, "stream": True, "plugins": []}
    found = route(Upstream("messages"), body, session())
    assert found.call.body == {key: body[key] for key in body if key != "plugins"}
    assert (found.sent.protocol, found.sent.path) == ("messages", "/v1/messages")
    assert found.sent.body["temperature"] == 0.1 and found.sent.headers == {}
    assert (found.sent.seed, found.sent.silence_s) == (7, 9.0)
    assert found.streamed, "whether it is one is the client's to say"
    record = found.exchange(Reply("x"), 200, "", 1.0, None, 2)
    assert (record.protocol, record.spoken, record.part, record.tries) == ("chat", "messages", 3, 2)
    assert record.left_out == ("plugins",) and record.thread is None and record.started == 1.0
    assert record.ended >= record.started and (record.status, record.blame) == (200, None)


def test_what_a_service_adapts_is_left_out_too() -> None:
    upstream: Any = Upstream("chat")
    upstream.adapt = lambda call: (replace(call, body={"less": 1}), ("more",))
    found = route(upstream, {"model": "m", "messages": USER, "plugins": 1}, session())
    assert found.sent.body == {"less": 1} and found.call.body["model"] == "m"
    assert found.exchange(None, 0, "e", 1.0, "service", 1).left_out == ("plugins", "more")
    assert found.exchange(None, 0, "e", 1.0, "service", 1).spoken is None


def test_what_a_reply_shows_to_be_ignored_is_recorded() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = {"model": "m", "messages": USER, "tools": tools, "tool_choice": "required"}
    found = route(Upstream("chat"), body, session())
    assert found.exchange(Reply("x"), 200, "", 1.0, None, 1).ignored == ("tool_choice",)
    assert found.exchange(None, 200, "", 1.0, None, 1).ignored == ()


@pytest.mark.parametrize(
    ("headers", "thread"),
    [
        ({}, None),
        ({"x-claude-code-agent-id": "a"}, "a"),
        ({"x-session-id": "s"}, MAIN),
        ({"x-session-id": "s", "x-parent-session-id": "p"}, "s"),
        ({"x-parent-session-id": "p"}, None),
        ({"x-session-id": "s", "x-claude-code-agent-id": "a"}, MAIN),
    ],
)
def test_the_thread_that_a_client_names(headers: dict[str, str], thread: str | None) -> None:
    found = route_of(session(), Upstream("chat"), "chat", {"model": "m", "messages": []}, headers)  # type: ignore[arg-type]
    assert found.exchange(None, 0, "", 1.0, None, 1).thread == thread
    upper = {name.title(): value for name, value in headers.items()}
    record = unanswered("chat", {"a": 1}, upper, 4, "why")
    assert record == Exchange(
        "chat", {"a": 1}, None, 400, "why", record.started, record.started, thread=thread, part=4
    )


def test_a_call_that_passes_as_it_is() -> None:
    login = ProgramToken("V", "token")
    headers = {"x-app": "cli", "authorization": "Bearer token"}
    body = {"model": "m", "messages": USER, "temperature": 1}
    opened = session(login)
    found = passing(opened, "messages", body, headers, (b"raw", "beta=true"))
    call = Call(
        "messages", "/v1/messages?beta=true", body, {"x-app": "cli"}, 7, 9.0, b"raw", "token"
    )
    assert found.call == found.sent == call and found.part == 3 and found.taken_out == ()
    plain = passing(session(), "messages", body, headers, (b"raw", ""))
    assert (plain.call.path, plain.call.bearer) == ("/v1/messages", "")
    searching = {**body, "tools": [SEARCH], "container": "c"}
    with pytest.raises(ProtocolError, match=r"outside the sandbox: container, tool web_search$"):
        passing(opened, "messages", searching, headers, (b"", ""))
    outside = passing(session(login, outside=True), "messages", searching, headers, (b"", ""))
    assert outside.call.body == searching


async def nothing() -> Any:
    return
    yield b""


def test_an_answer_to_a_call_that_passes_as_it_is_is_not_changed() -> None:
    answer = Answer(200, "application/json", nothing(), headers={"x": "y"})
    body = {"model": "m", "messages": USER}
    raw = passing(session(), "messages", body, {}, (b"{}", ""))
    assert raw.back(answer) is answer
    assert route(Upstream("chat"), body, session()).back(answer).headers == {"x": "y"}
    assert route(Upstream("messages"), body, session()).back(answer).headers == {}
    ids = CallIds()
    ids.own("a")
    ids.own("a")
    told = [{"role": "tool", "tool_call_id": "a_2", "content": "x"}]
    changed = replace(route(Upstream("chat"), {"model": "m", "messages": told}, session()), ids=ids)
    assert changed.sent.body["messages"][0]["tool_call_id"] == "a"
    as_it_is = replace(raw, ids=ids, call=replace(raw.call, body={"messages": told}))
    assert as_it_is.sent.body == {"messages": told}


def test_what_a_call_may_have_used() -> None:
    assert estimated({"a": "x" * 100}, 5) == Usage(1, 27, 0, 5, estimated=True)


def exchange(error: str = "") -> Exchange:
    return Exchange("chat", {"model": "m"}, Reply("x", (ToolCall("c", "f", {}),)), 200, error, 1, 2)


def test_an_exchange_is_kept_without_its_request_if_it_is_on_disk(tmp_path: Path) -> None:
    opened = session()
    opened.add(exchange(), Usage(1, 5))
    opened.add(exchange(), None)
    assert opened.exchanges == [exchange()] * 2 and opened.usage == Usage(1, 5)
    opened = session(record=tmp_path)
    opened.scrub = Scrubber(["secret-of-the-user"])
    opened.__post_init__()
    opened.add(exchange("no: secret-of-the-user"), Usage(1, 5))
    assert opened.exchanges[0].request == {} and "of-the-user" not in opened.exchanges[0].error
    (found,) = read_wire(tmp_path / WIRE)
    assert found.request == {"model": "m"} and "[removed-secret]" in found.error
    assert opened.failure == "" and opened.path == ""
    assert session(ProgramToken("V", "x")).path == "/passing/t"


def test_what_cannot_be_recorded_is_a_failure_and_still_counted(tmp_path: Path) -> None:
    opened = session(record=tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        opened.add(exchange(), Usage(1, 5))
    assert opened.failure.startswith("the exchange cannot be recorded: ")
    assert len(opened.exchanges) == 1 and opened.usage.requests == 1


def test_what_is_recorded_is_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = session(record=tmp_path)
    opened.add(exchange(), None)
    size = (tmp_path / WIRE).stat().st_size
    monkeypatch.setattr(sessions, "RECORDED_BYTES", 2 * size)
    opened.add(exchange(), None)
    assert (tmp_path / WIRE).stat().st_size == 2 * size and opened.exhausted == ""
    opened.add(exchange(), None)
    assert opened.exhausted == "its model requests have more than 0 MiB"
    opened.exhausted = "something else"
    opened.add(exchange(), None)
    assert opened.exhausted == "something else"


def test_the_end_of_a_session_ends_its_token_and_its_companion() -> None:
    ended: list[str] = []

    class Channel:
        def close(self) -> None:
            ended.append("companion")

    grant = Grant(ModelSpec("up", "m"), 1)
    with Session("t", grant, ended.append, Path("s")):
        pass
    assert ended == ["t"]
    with Session("u", grant, ended.append, Path("s"), companion=Channel()):  # type: ignore[arg-type]
        assert ended == ["t"]
    assert ended == ["t", "u", "companion"]
