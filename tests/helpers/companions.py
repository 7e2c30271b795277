"""A companion for tests: a counting game, with ways to misbehave."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

ASK = (
    f"{sys.executable} -c 'import json, os, sys, urllib.request as r; "
    'q = r.Request(os.environ["SKILLOPT_COMPANION_URL"], sys.argv[1].encode(), '
    '{"Authorization": "Bearer " + os.environ["SKILLOPT_COMPANION_TOKEN"]}); '
    "print(json.load(r.urlopen(q)))'"
)
"""A command in a sandbox that sends its argument to the companion and prints what it replies."""
ASK_IN_IMAGE = ASK.replace(sys.executable, "python3")


class Counter:
    """Adds up what it is sent."""

    def __init__(self) -> None:
        self.total = 0
        self.closed = 0
        self.threads: set[int] = set()
        self.begun = threading.Event()
        self.under_way = 0
        self.most_at_once = 0
        self.closed_while_replying = False

    def reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        self.under_way += 1
        self.begun.set()
        self.threads.add(threading.get_ident())
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            return self._reply(message)
        finally:
            self.under_way -= 1

    def _reply(self, message: Mapping[str, Any]) -> Any:
        match message.get("do"):
            case "raise":
                raise RuntimeError("the board fell off the table")
            case "sleep":
                time.sleep(message["s"])
            case "set":
                return {"what": {1, 2}}
            case "list":
                return [1]
        self.total += message.get("add", 0)
        return {"total": self.total}

    def close(self) -> None:
        self.closed += 1
        self.closed_while_replying = self.under_way > 0
