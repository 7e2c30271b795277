"""The record of a session: exact, linear in what a conversation adds, readable while it grows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sessions import requests
from harnesses.gateway.exchange import Exchange
from harnesses.gateway.wire import WIRE, WireReader, WireWriter, read_wire
from harnesses.protocols.base import Reply
from harnesses.trajectories.threads import Turns
from sandboxes.errors import SkillOptError

LONG = "words " * 50
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just(LONG),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=2), below),
    max_leaves=12,
)
BODIES = st.lists(st.dictionaries(st.sampled_from(["a", "b", "messages", "tools"]), VALUES))


def exchange(body: dict[str, Any], started: float = 1.0) -> Exchange:
    return Exchange("chat", body, Reply("ok"), 200, "", started, started + 1)


def write(file: Path, bodies: Sequence[dict[str, Any]]) -> list[int]:
    writer = WireWriter(file)
    return [writer.add(exchange(body, float(n))) for n, body in enumerate(bodies)]


@given(bodies=BODIES)
def test_every_request_is_read_as_it_was(
    bodies: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / WIRE  # A new folder takes longer than the rest.
    file.write_bytes(b"")
    write(file, bodies)
    # A second session does not know what the first one has written.
    write(file, bodies[::-1])
    assert [one.request for one in read_wire(file)] == [*bodies, *bodies[::-1]]


def test_a_record_is_as_long_as_its_conversation(tmp_path: Path) -> None:
    bodies = list(requests(60, 300_000))
    sizes = write(tmp_path / WIRE, bodies)
    assert len(json.dumps(bodies[-1])) > 270_000
    assert sum(sizes) == (tmp_path / WIRE).stat().st_size < 1_000_000
    # What a request adds does not grow with what came before it.
    assert max(sizes[30:]) < 1.2 * min(sizes[2:30])
    assert [one.request for one in read_wire(tmp_path / WIRE)] == bodies


def test_each_request_is_read_once_and_each_message_kept_once(tmp_path: Path) -> None:
    writer, found = WireWriter(tmp_path / WIRE), Turns(tmp_path / WIRE)
    assert found.so_far() == []
    for n, body in enumerate(requests(20, 100_000)):
        writer.add(Exchange("messages", body, Reply("ok"), 200, "", float(n), n + 1.0))
        assert len(found.so_far()) == n + 1
    messages = [message for turn in found.so_far() for message in turn.shown.messages]
    assert len(messages) > 400 and len({id(message) for message in messages}) <= 41
    assert len({id(turn.shown.tools) for turn in found.so_far()}) == 1


def test_a_line_that_is_being_written_is_read_later(tmp_path: Path) -> None:
    bodies = [{"model": "m", "messages": [{"role": "user", "content": LONG}] * n} for n in (1, 2)]
    write(tmp_path / WIRE, bodies)
    raw = (tmp_path / WIRE).read_bytes()
    (tmp_path / "part").write_bytes(raw[:-5])
    reader = WireReader()
    with (tmp_path / "part").open("rb") as record:
        assert [one.request for one in reader.new(record, "part")] == bodies[:1]
    (tmp_path / "part").write_bytes(raw)
    with (tmp_path / "part").open("rb") as record:
        assert [one.request for one in reader.new(record, "part")] == bodies[1:]


def test_older_records_are_read_and_newer_ones_refused_by_name(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": LONG}]}
    old = {"protocol": "chat", "request": body, "response": None, "status": 200, "error": "",
           "started": 1.0, "ended": 2.0}  # fmt: skip
    lines = [old, old | {"format": 1, "thread": None, "part": 1, "tries": 2}]
    (tmp_path / WIRE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = read_wire(tmp_path / WIRE)
    assert first.request == second.request == body and (second.part, second.tries) == (1, 2)
    assert first == Exchange("chat", body, None, 200, "", 1.0, 2.0)
    lines = [old | {"agent": name} for name in ("", "a")]
    (tmp_path / WIRE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [one.thread for one in read_wire(tmp_path / WIRE)] == [None, "a"]
    (tmp_path / WIRE).write_text(json.dumps(old | {"format": 3}) + "\n")
    with pytest.raises(SkillOptError, match=rf"{WIRE}: has format 3, .* reads formats 1 and 2"):
        read_wire(tmp_path / WIRE)


def test_a_line_has_all_that_is_known_of_a_call(tmp_path: Path) -> None:
    given = Exchange(
        "chat", {"model": "m"}, None, 429, "no", 1.0, 2.0, "messages", ("a",), ("b",), "t", 3,
        "service", 4,
    )  # fmt: skip
    WireWriter(tmp_path / WIRE).add(given)
    WireWriter(tmp_path / WIRE).add(exchange({}))
    first, second = map(json.loads, (tmp_path / WIRE).read_text().splitlines())
    assert first == {
        "format": 2, "protocol": "chat", "spoken": "messages", "left_out": ["a"],
        "ignored": ["b"], "started": 1.0, "ended": 2.0, "status": 429, "error": "no",
        "request": {"model": "m"}, "shared": {}, "parts": {}, "lists": {}, "response": None,
        "thread": "t", "part": 3, "blame": "service", "tries": 4,
    }  # fmt: skip
    assert second["spoken"] == "chat" and second["response"]["choices"]
    read, other = read_wire(tmp_path / WIRE)
    assert read == given and other.reply is not None and other.reply.text == "ok"


@pytest.mark.parametrize(("length", "apart"), [(198, False), (199, True)])
def test_what_is_long_is_written_once(length: int, apart: bool, tmp_path: Path) -> None:
    body = {"a": "x" * length, "b": []}  # Two quotes are a part of a text.
    WireWriter(tmp_path / WIRE).add(exchange(body))
    line = json.loads((tmp_path / WIRE).read_text())
    assert (line["request"]["a"] is None) is apart and len(line["parts"]) == apart
    assert [one.request for one in read_wire(tmp_path / WIRE)] == [body]


def test_a_call_that_was_not_written_is_written_whole_the_next_time(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": LONG}]}
    writer = WireWriter(tmp_path / "missing" / WIRE)
    with pytest.raises(FileNotFoundError):
        writer.add(exchange(body))
    (tmp_path / "missing").mkdir()
    writer.add(exchange(body))
    assert [one.request for one in read_wire(tmp_path / "missing" / WIRE)] == [body]
