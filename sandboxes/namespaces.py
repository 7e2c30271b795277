"""Network namespaces that sandboxes without a network join in turn.

To make a namespace costs an engine more than all the rest of a container's life. So an idle
container keeps one with nothing but a loopback interface in it, and it is lent to one sandbox at a
time: what that has opened in it ends with its processes.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass

NAMESPACE_KIND = "namespace"
"""What the idle containers are called in their labels."""


@dataclass(frozen=True)
class Namespace:
    """A network namespace.

    Args:
        container: id of the idle container that keeps it.
        started: when that was started; one that was started anew has another namespace.
    """

    container: str
    started: str

    @property
    def network(self) -> str:
        """The value for ``SandboxSpec.network``."""
        return f"container:{self.container}"


class Namespaces:
    """The namespaces of one engine. Safe to use from threads.

    Args:
        make: starts an idle container with a namespace of its own; returns its id.
        started: when a container was started; empty if it does not run.
        remove: removes a container.
    """

    def __init__(
        self,
        make: Callable[[], str],
        started: Callable[[str], str],
        remove: Callable[[str], None],
    ) -> None:
        self._make = make
        self._started = started
        self._remove = remove
        self._free: queue.SimpleQueue[Namespace] = queue.SimpleQueue()

    def take(self) -> Namespace:
        """One that nobody else uses; a new one if there is none that still works.

        Raises:
            SandboxError: none can be made.
        """
        while True:
            try:
                kept = self._free.get_nowait()
            except queue.Empty:
                container = self._make()
                return Namespace(container, self._started(container))
            if kept.started and self._started(kept.container) == kept.started:
                return kept
            self._remove(kept.container)

    def give_back(self, kept: Namespace) -> None:
        """Let others use one. No process must be left in it but that of its own container."""
        self._free.put(kept)
