"""Harnesses: they run real coding agents on one task with one skill, and record what these do.

The public names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harnesses.agents.cli_agent import AgentKind as AgentKind
    from harnesses.agents.cli_agent import CliAgent as CliAgent
    from harnesses.agents.cli_agent import CliHarness as CliHarness
    from harnesses.agents.cli_agent import Launch as Launch
    from harnesses.agents.folders import Folders as Folders
    from harnesses.agents.options import Options as Options
    from harnesses.agents.options import OptionsError as OptionsError
    from harnesses.agents.options import Rules as Rules
    from harnesses.agents.outcome import agents_fault as agents_fault
    from harnesses.agents.outcome import recorded as recorded
    from harnesses.agents.registry import CLI_AGENTS as CLI_AGENTS
    from harnesses.agents.registry import NAMES as NAMES
    from harnesses.agents.registry import HarnessError as HarnessError
    from harnesses.agents.registry import make_harness as make_harness
    from harnesses.agents.terminal_profile import Page as Page
    from harnesses.agents.terminal_profile import TerminalProfile as TerminalProfile
    from harnesses.agents.toolchains import Toolchain as Toolchain
    from harnesses.agents.toolchains import ToolchainError as ToolchainError
    from harnesses.base import Budget as Budget
    from harnesses.base import Mode as Mode
    from harnesses.base import ModelSpec as ModelSpec
    from harnesses.base import MountMode as MountMode
    from harnesses.base import Outcome as Outcome
    from harnesses.base import Request as Request
    from harnesses.base import Status as Status
    from harnesses.base import Usage as Usage
    from harnesses.companion import Companion as Companion
    from harnesses.companion import companion_env as companion_env
    from harnesses.gateway.chat import ChatClient as ChatClient
    from harnesses.gateway.chat import ChatError as ChatError
    from harnesses.gateway.gateway import Gateway as Gateway
    from harnesses.gateway.gateway import GatewayError as GatewayError
    from harnesses.gateway.session import Grant as Grant
    from harnesses.gateway.session import Session as Session
    from harnesses.gateway.upstreams import Answer as Answer
    from harnesses.gateway.upstreams import Call as Call
    from harnesses.gateway.upstreams import UnusableUpstreamError as UnusableUpstreamError
    from harnesses.gateway.upstreams import Upstream as Upstream
    from harnesses.gateway.upstreams import UpstreamError as UpstreamError
    from harnesses.harness import Harness as Harness
    from harnesses.harness import RolloutSite as RolloutSite
    from harnesses.protocols.base import Conversation as Conversation
    from harnesses.protocols.base import Message as Message
    from harnesses.protocols.base import ProtocolError as ProtocolError
    from harnesses.protocols.base import ProtocolName as ProtocolName
    from harnesses.protocols.base import Reply as Reply
    from harnesses.protocols.base import Tool as Tool
    from harnesses.protocols.base import ToolCall as ToolCall
    from harnesses.protocols.base import ToolResult as ToolResult
    from harnesses.protocols.registry import CODECS as CODECS

_HOMES = {
    "AgentKind": "harnesses.agents.cli_agent",
    "Answer": "harnesses.gateway.upstreams",
    "Budget": "harnesses.base",
    "CLI_AGENTS": "harnesses.agents.registry",
    "CODECS": "harnesses.protocols.registry",
    "Call": "harnesses.gateway.upstreams",
    "ChatClient": "harnesses.gateway.chat",
    "ChatError": "harnesses.gateway.chat",
    "CliAgent": "harnesses.agents.cli_agent",
    "CliHarness": "harnesses.agents.cli_agent",
    "Companion": "harnesses.companion",
    "Conversation": "harnesses.protocols.base",
    "Folders": "harnesses.agents.folders",
    "Gateway": "harnesses.gateway.gateway",
    "GatewayError": "harnesses.gateway.gateway",
    "Grant": "harnesses.gateway.session",
    "Harness": "harnesses.harness",
    "HarnessError": "harnesses.agents.registry",
    "Launch": "harnesses.agents.cli_agent",
    "Message": "harnesses.protocols.base",
    "Mode": "harnesses.base",
    "ModelSpec": "harnesses.base",
    "MountMode": "harnesses.base",
    "NAMES": "harnesses.agents.registry",
    "Options": "harnesses.agents.options",
    "OptionsError": "harnesses.agents.options",
    "Outcome": "harnesses.base",
    "Page": "harnesses.agents.terminal_profile",
    "ProtocolError": "harnesses.protocols.base",
    "ProtocolName": "harnesses.protocols.base",
    "Reply": "harnesses.protocols.base",
    "Request": "harnesses.base",
    "RolloutSite": "harnesses.harness",
    "Rules": "harnesses.agents.options",
    "Session": "harnesses.gateway.session",
    "Status": "harnesses.base",
    "TerminalProfile": "harnesses.agents.terminal_profile",
    "Tool": "harnesses.protocols.base",
    "ToolCall": "harnesses.protocols.base",
    "ToolResult": "harnesses.protocols.base",
    "Toolchain": "harnesses.agents.toolchains",
    "ToolchainError": "harnesses.agents.toolchains",
    "UnusableUpstreamError": "harnesses.gateway.upstreams",
    "Upstream": "harnesses.gateway.upstreams",
    "UpstreamError": "harnesses.gateway.upstreams",
    "Usage": "harnesses.base",
    "agents_fault": "harnesses.agents.outcome",
    "companion_env": "harnesses.companion",
    "make_harness": "harnesses.agents.registry",
    "recorded": "harnesses.agents.outcome",
}
__all__ = [
    "CLI_AGENTS",
    "CODECS",
    "NAMES",
    "AgentKind",
    "Answer",
    "Budget",
    "Call",
    "ChatClient",
    "ChatError",
    "CliAgent",
    "CliHarness",
    "Companion",
    "Conversation",
    "Folders",
    "Gateway",
    "GatewayError",
    "Grant",
    "Harness",
    "HarnessError",
    "Launch",
    "Message",
    "Mode",
    "ModelSpec",
    "MountMode",
    "Options",
    "OptionsError",
    "Outcome",
    "Page",
    "ProtocolError",
    "ProtocolName",
    "Reply",
    "Request",
    "RolloutSite",
    "Rules",
    "Session",
    "Status",
    "TerminalProfile",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Toolchain",
    "ToolchainError",
    "UnusableUpstreamError",
    "Upstream",
    "UpstreamError",
    "Usage",
    "agents_fault",
    "companion_env",
    "make_harness",
    "recorded",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harnesses' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
