"""How the requests that a model service may get at the same time are divided among gateways.

Each gateway has an equal share, so that no request waits for the driver; together they never have
more than all. A share is raised only after the others have confirmed that theirs are lower.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Shares:
    """The shares of one service. Not safe to use from threads.

    Args:
        total: the most requests at the same time (``max_concurrency``).
    """

    total: int
    _told: dict[str, int] = field(default_factory=dict)
    """The last share that each holder was sent."""
    _confirmed: dict[str, int] = field(default_factory=dict)
    """The last share that each holder has confirmed."""
    _leaving: dict[str, float] = field(default_factory=dict)
    """When holders that may still make requests will have ended them."""

    def join(self, holder: str, share: int = 0) -> None:
        """Have one more holder.

        Args:
            holder: its name.
            share: that it has already; with 0 it gets one when others have less.
        """
        self._told.setdefault(holder, share)
        self._confirmed.setdefault(holder, share)
        self._leaving.pop(holder, None)

    def leave(self, holder: str, until: float) -> None:
        """A holder gets no share any more.

        Args:
            holder: its name.
            until: when it will have ended its requests at the latest.
        """
        if holder in self._told:
            self._leaving[holder] = until

    def share(self, holder: str, at: float) -> int:
        """The share that a holder is to be sent now; :meth:`confirm` says that it has it."""
        for gone in [name for name, until in self._leaving.items() if until <= at]:
            del self._leaving[gone], self._told[gone], self._confirmed[gone]
        if holder not in self._told or holder in self._leaving:
            return 0
        taken = sum(self._most(name) for name in self._told if name != holder)
        self._told[holder] = max(0, min(self._fair(holder), self.total - taken))
        return self._told[holder]

    def confirm(self, holder: str, share: int) -> None:
        """A holder has the share that it was sent."""
        if holder in self._confirmed:
            self._confirmed[holder] = share

    def confirmed(self, holder: str) -> int:
        """The share that a holder has for certain."""
        return self._confirmed.get(holder, 0)

    def settled(self, holder: str) -> bool:
        """Whether a holder has its equal part."""
        return holder not in self._told or self._confirmed[holder] == self._fair(holder)

    def _most(self, holder: str) -> int:
        """The most requests that a holder may be making."""
        return max(self._told[holder], self._confirmed[holder])

    def _fair(self, holder: str) -> int:
        """An equal part; those that came first get what is left over."""
        holders = [name for name in self._told if name not in self._leaving]
        part, rest = divmod(self.total, len(holders))
        return part + (holders.index(holder) < rest)
