"""Carries thoughts of one protocol through another and back.

A client gives back what it got. So it gets the seal of a thought (a signature, an encrypted text)
in the field that its own protocol has for such things, marked with its origin, and a service gets
only seals that it made.
"""

from __future__ import annotations

from typing import cast, get_args

from harnesses.protocols.base import ProtocolName, Thought

_MARK = "skillopt:"
_HIDDEN = "!"


def sealed(thought: Thought, own: ProtocolName) -> str:
    """The seal as a client of the protocol ``own`` gets it."""
    if thought.origin == own or thought.origin is None:
        return thought.seal
    return f"{_MARK}{thought.origin}:{_HIDDEN if thought.hidden else ''}{thought.seal}"


def unsealed(text: str, seal: str, own: ProtocolName, hidden: bool = False) -> Thought:
    """A thought as it was before :func:`sealed`; ``own`` is the protocol that it was found in."""
    origin, colon, rest = seal.removeprefix(_MARK).partition(":")
    if seal.startswith(_MARK) and colon and origin in get_args(ProtocolName):
        hidden = hidden or rest.startswith(_HIDDEN)
        return Thought(text, rest.removeprefix(_HIDDEN), cast(ProtocolName, origin), hidden)
    return Thought(text, seal, own, hidden)
