"""Event streams are read by their standard, in chunks of any size, and in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.protocols.base import ProtocolError
from harnesses.protocols.sse import MAX_EVENT, Splitter, event, read_events


def split(raw: bytes, cuts: list[int]) -> list[Mapping[str, Any]]:
    splitter = Splitter()

    def events() -> Iterator[Mapping[str, Any]]:
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            yield from splitter.feed(raw[start:end])
        yield from splitter.end()

    return list(events())


STREAMS = [
    ("one event", b'data: {"a": 1}\n\n', [{"a": 1}]),
    ("no blank", b'data:{"a": 1}\n\n', [{"a": 1}]),
    ("several lines of data", b'data: {"a":\ndata: 1,\ndata: "b": 2}\n\n', [{"a": 1, "b": 2}]),
    ("CRLF", b'data: {"a": 1}\r\n\r\ndata: {"a": 2}\r\n\r\n', [{"a": 1}, {"a": 2}]),
    ("CR", b'data: {"a": 1}\r\rdata: {"a": 2}\r\r', [{"a": 1}, {"a": 2}]),
    ("CR, several lines of data", b'data: {"a":\rdata: 1}\r\r', [{"a": 1}]),
    ("line ends mixed", b'data: {"a":\r\ndata: 1}\n\rdata: {"a": 2}\r\n\n', [{"a": 1}, {"a": 2}]),
    ("a byte order mark", b'\xef\xbb\xbfdata: {"a": 1}\n\n', [{"a": 1}]),
    ("a byte order mark later", b'data: {"a": 1}\n\n\xef\xbb\xbfdata: {"a": 2}\n\n', [{"a": 1}]),
    ("comments", b': hi\n\ndata: {"a": 1}\n: more\n:\n\n', [{"a": 1}]),
    ("other fields", b'id: 1\nretry: 5\nfoo: {"a": 0}\ndata: {"a": 1}\n\n', [{"a": 1}]),
    ("fields without a colon", b'data\ndata: {"a": 1}\ndata\nid\n\n', [{"a": 1}]),
    ("a name gives the type", b'event: ping\ndata: {"a": 1}\n\n', [{"type": "ping", "a": 1}]),
    ("the data's type counts", b'event: x\ndata: {"type": "y"}\n\n', [{"type": "y"}]),
    ("a name is for one event", b'event: x\n\ndata: {"a": 1}\n\n', [{"a": 1}]),
    ("no blank line at the end", b'data: {"a": 1}\n\ndata: {"a": 2}\n', [{"a": 1}, {"a": 2}]),
    ("no line end at the end", b'data: {"a": 1}\n\ndata: {"a": 2}', [{"a": 1}, {"a": 2}]),
    ("no blank lines at all", b'data: {"a": 1}\ndata: {"a": 2}\ndata: [DONE]\n',
     [{"a": 1}, {"a": 2}]),
    ("the end mark", b'data: {"a": 1}\n\ndata: [DONE]\n\n', [{"a": 1}]),
    ("no data", b"event: x\n\ndata:\n\ndata: \n\n", []),
    ("separators within a text", 'data: {"a": "\u2028\x85"}\n\n'.encode(),
     [{"a": "\u2028\x85"}]),
    ("characters of several bytes", 'data: {"a": "\N{GRINNING FACE}é"}\n\n'.encode(),
     [{"a": "\N{GRINNING FACE}é"}]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "raw", "right"), STREAMS, ids=[s[0] for s in STREAMS])
def test_a_stream_is_read_by_the_standard(name: str, raw: bytes, right: list[Any]) -> None:
    assert list(read_events(raw)) == right
    assert split(raw, list(range(1, len(raw)))) == right


@given(st.sampled_from([raw for _, raw, _ in STREAMS]), st.data())
def test_chunks_make_no_difference(raw: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    assert split(raw, cuts) == list(read_events(raw))


@pytest.mark.parametrize("raw", [b'data: {"a": ', b'data: {"a": \n\n', b"data: 5\n\n", b"data: x"])
def test_data_that_is_no_object_is_an_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(read_events(raw))


def test_what_has_no_event_is_shown() -> None:
    with pytest.raises(ProtocolError, match="Bad Gateway"):
        list(read_events(b"<html>\n<h1>Bad Gateway</h1>\n</html>\n"))
    assert list(read_events(b"\n\n: ping\n\nretry: 5\n\n")) == []


@pytest.mark.parametrize("comment", [b": " + b"x" * 65_534, (b": " + b"x" * 61 + b"\n") * 1024])
@pytest.mark.slow
def test_comments_cost_no_memory(comment: bytes) -> None:
    splitter = Splitter()
    tracemalloc.start()
    for _ in range(1000):  # 64 MB
        assert list(splitter.feed(comment)) == []
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000
    assert list(splitter.feed(b"\n\n" + event({"a": 1}))) == [{"a": 1}]


@pytest.mark.parametrize("line", [b"x" * 65_536, b"data: " + b"x" * 65_529 + b"\n"])
def test_an_event_without_an_end_is_refused(line: bytes) -> None:
    splitter = Splitter()
    with pytest.raises(ProtocolError, match="more than"):
        for _ in range(MAX_EVENT // len(line) + 2):
            list(splitter.feed(line))
