"""The requests that a model service gets at the same time, shared fairly among sessions."""

from __future__ import annotations

import asyncio
from collections import Counter


class Slots:
    """The slots of one service. Used from the gateway's event loop only.

    No session gets more than half of them, so that one with calls that never end cannot keep the
    others out. Among those that wait, the session with the fewest slots comes first.

    Args:
        total: the most requests at the same time.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    async def take(self, session: str, within_s: float) -> None:
        """Wait for a slot.

        Args:
            session: its token.
            within_s: the most seconds to wait.

        Raises:
            TimeoutError: none became free.
        """
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((session, turn))
        self._admit()
        try:
            async with asyncio.timeout(within_s):
                await turn
        except (asyncio.CancelledError, TimeoutError):
            if (session, turn) in self._waiting:
                self._waiting.remove((session, turn))
            elif not turn.cancelled():
                self.give_back(session)
            raise

    @property
    def _share(self) -> int:
        """The most slots of one session."""
        return max(1, (self._total + 1) // 2)

    @property
    def held(self) -> int:
        """The slots that are held now."""
        return self._total - self._free

    def resize(self, total: int) -> None:
        """Have more slots, or fewer: those that are held then are given back first."""
        self._free += total - self._total
        self._total = total
        self._admit()

    def give_back(self, session: str) -> None:
        """Give a slot back."""
        self._free += 1
        self._held[session] -= 1
        if not self._held[session]:
            del self._held[session]
        self._admit()

    def _admit(self) -> None:
        while self._free > 0:
            allowed = [item for item in self._waiting if self._held[item[0]] < self._share]
            if not allowed:
                return
            chosen = min(allowed, key=lambda item: self._held[item[0]])
            self._waiting.remove(chosen)
            session, turn = chosen
            if turn.cancelled():
                continue  # Its call will notice.
            self._free -= 1
            self._held[session] += 1
            turn.set_result(None)
