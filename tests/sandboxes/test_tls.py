"""The server name of a TLS hello is read however the hello is divided, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.tls import Hello, NotTlsError, read_hello
from tests.helpers.hello import client_hello, in_records, with_extension

HELLO = client_hello("Pypi.ORG")


@given(st.integers(0, len(HELLO) - 1), st.binary(max_size=8))
def test_a_hello_is_known_when_it_is_complete_and_not_before(cut: int, behind: bytes) -> None:
    assert read_hello(HELLO[:cut]) is None
    assert read_hello(HELLO + behind) == Hello("pypi.org")


@given(st.integers(1, len(HELLO)), st.data())
def test_a_hello_may_be_divided_into_any_records(size: int, data: st.DataObject) -> None:
    divided = in_records(HELLO, size)
    cut = data.draw(st.integers(0, len(divided) - 1))
    assert read_hello(divided[:cut]) is None
    assert read_hello(divided) == Hello("pypi.org")


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_a_changed_byte_never_makes_another_error(place: int, value: int) -> None:
    changed = HELLO[:place] + bytes([value]) + HELLO[place + 1 :]
    try:
        read_hello(changed)
    except NotTlsError as error:
        assert "TLS" in str(error)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_incomplete(data: bytes) -> None:
    if data[:1] not in (b"", b"\x16"):
        with pytest.raises(NotTlsError):
            read_hello(data)


def test_a_hello_without_a_name_and_one_with_a_second_one_in_it() -> None:
    assert read_hello(client_hello(None)) == Hello("")
    assert read_hello(with_extension(HELLO, 0xFE0D, b"x" * 40)) == Hello("pypi.org", encrypted=True)


@pytest.mark.parametrize(
    "data",
    [
        with_extension(HELLO, 0, b"\x00\x0a\x00\x00\x07evil.io"),  # A second name.
        with_extension(client_hello(None), 0, b"\x00\x0d\x00\x00\x03a.b\x00\x00\x04c.de"),
        with_extension(client_hello(None), 0, b"\x00\x06\x01\x00\x03a.b"),
        with_extension(client_hello(None), 0, b"\x00\x06\x00\x00\x03\xff.b"),
        with_extension(client_hello(None), 0, b""),
        HELLO[:3] + b"\x00\x00" + HELLO[5:],
        HELLO[:5] + b"\x02" + HELLO[6:],
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        in_records(HELLO + b"more", 16000),
    ],
)
def test_odd_hellos_are_refused(data: bytes) -> None:
    with pytest.raises(NotTlsError):
        read_hello(data)
