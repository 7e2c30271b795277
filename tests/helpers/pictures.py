"""A picture and a patch, and the reply that makes an agent look at the picture."""

from __future__ import annotations

from harnesses.protocols.base import Conversation, Reply, ToolCall

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
PATCH = "*** Begin Patch\n*** Add File: new.txt\n+made\n*** End Patch\n"


def picture(shown: Conversation) -> Reply:
    readers = {"view_image": "path", "Read": "file_path", "read": "filePath"}
    name, key = next((t.name, readers[t.name]) for t in shown.tools if t.name in readers)
    return Reply("", (ToolCall("call_2", name, {key: "/app/dot.png"}),), stop="tool_calls")
