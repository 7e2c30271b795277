"""The model services that a config may name, by kind."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from harnesses.gateway.addresses import KINDS, is_place, why_no_address
from harnesses.gateway.plan_upstreams import Login
from harnesses.protocols.base import ProtocolName
from skillopt.config.section import Section
from skillopt.core.import_path import PATH


class SimConfig(Section):
    """The simulated model."""

    kind: Literal["sim"]
    seed: int = 0
    """Seed of its randomness."""
    noise: float = Field(0.0, ge=0, le=1)
    """Share of tasks on which it makes a mistake and forgets the skill's rules."""
    latency_s: float = Field(0.0, ge=0)
    """Seconds before each reply."""
    error_rate: float = Field(0.0, ge=0, le=1)
    """Share of requests that fail with status 500."""
    cut_rate: float = Field(0.0, ge=0, le=1)
    """Share of streams that break off half way."""
    malformed: float = Field(0.0, ge=0, le=1)
    """Share of optimizer replies that do not have the requested form."""
    harm: float = Field(0.2, ge=0, le=1)
    """Share of reflections that also propose a harmful rule."""
    protocols: tuple[ProtocolName, ...] = ()
    """Protocols that it supports; by default all three. The gateway translates the others."""


class HttpConfig(Section):
    """A model service over HTTP."""

    kind: Literal["openai", "azure-openai", "anthropic", "openai-compatible", "bedrock", "vertex"]
    base_url: str | None = None
    """Address of the service, as its own pages give it: with or without ``/v1``; for Azure, that of
    the resource; for Vertex, that of the project and location. The default for ``openai`` and
    ``anthropic`` is the vendor's address."""
    key_env: str = ""
    """Environment variable that contains the API key; never the key itself. Without it, ``bedrock``
    uses the AWS login of this machine, and ``vertex`` its Google login."""
    protocols: tuple[ProtocolName, ...] = ()
    """Protocols that the service supports, if not the usual ones of its kind (``[chat]`` for
    ``openai-compatible``, ``bedrock`` and ``vertex``, the last two of which have Claude at
    ``[messages]``)."""
    api_version: str = ""
    """Version of Azure's dated interface, such as ``2025-04-01-preview``; by default its ``v1``
    interface is used."""
    login: Login | None = None
    """Who pays if there is no key: ``chatgpt`` for the ChatGPT plan that ``skillopt login chatgpt``
    has signed in to (kind ``openai``), ``claude-plan`` for your own Claude plan (kind
    ``anthropic``), in the agent ``claude-code`` only."""
    max_concurrency: int = Field(16, ge=1)
    """Most requests at the same time."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, base_url: str | None) -> str | None:
        base_url = base_url.strip() if base_url is not None else None
        if base_url is not None and (why := why_no_address(base_url)):
            raise ValueError(why)
        return base_url

    @field_validator("key_env")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not re.fullmatch(
            r"([A-Z_][A-Z0-9_]*)?", name
        ):  # The value is not printed, as it may be a key.
            raise ValueError(
                "must be the name of an environment variable, in capital letters, and not the key "
                "itself"
            )
        return name

    @model_validator(mode="after")
    def _fits_its_kind(self) -> HttpConfig:
        if not self.base_url and not KINDS[self.kind].base_url:
            raise ValueError(f"base_url is required for an upstream of kind {self.kind}")
        if self.kind == "vertex" and not is_place(self.base_url or ""):
            raise ValueError(
                "base_url: an address of Vertex ends in /projects/PROJECT/locations/LOCATION"
            )
        if self.api_version and self.kind != "azure-openai":
            raise ValueError("api_version: only azure-openai has one; remove it")
        if self.login is not None:
            self._check_login(self.login)
        return self

    def _check_login(self, login: Login) -> None:
        kind = {"chatgpt": "openai", "claude-plan": "anthropic"}[login]
        if self.kind != kind:
            raise ValueError(f"login: {login} is for kind {kind}; change one of them")
        if login == "chatgpt" and self.key_env:
            raise ValueError("key_env: login: chatgpt takes the place of a key; remove one of them")
        if self.protocols:
            raise ValueError(f"protocols: with login: {login} there is only one; remove it")
        given, own = urlsplit(self.base_url or KINDS[kind].base_url), urlsplit(KINDS[kind].base_url)
        here = given.hostname in ("127.0.0.1", "::1", "localhost")
        if not here and (given.scheme, given.netloc) != (own.scheme, own.netloc):
            # The token of a person's account is sent nowhere else.
            raise ValueError(
                f"base_url: login: {login} sends your token to the vendor's own address or to this "
                "machine only; remove it"
            )


class LlamaConfig(Section):
    """A llama.cpp server that starts and ends with the run (extra ``local``)."""

    kind: Literal["llamacpp"]
    model: str = "smollm2"
    """``smollm2``, or a GGUF file. The model's name in requests is ``smollm2`` or the file's
    stem."""
    context: int = Field(2048, ge=256)
    """Most tokens of a request together with its reply."""
    parallel: int = Field(2, ge=1)
    """Requests that are processed at the same time."""
    threads: int = Field(0, ge=0)
    """Number of threads; 0 means half of the processors."""
    template: str = ""
    """Chat template (Jinja) that replaces the model's own."""
    protocols: tuple[ProtocolName, ...] = ("chat",)
    """Protocols to use. llama.cpp supports all three, but ignores JSON schemas and forced tools in
    the other two."""


class OwnUpstreamConfig(Section):
    """Your own model service: ``kind`` is the import path of a class that implements
    :class:`harnesses.gateway.upstreams.Upstream`."""

    kind: str = Field(pattern=PATH)
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments for the class."""


def _tag(value: Any) -> str:
    """The section that a mapping is, by its kind."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if kind in ("sim", "llamacpp"):
        return str(kind)
    if kind in get_args(HttpConfig.model_fields["kind"].annotation):
        return "http"
    return "own" if isinstance(kind, str) and ":" in kind else "unknown"


UpstreamConfig = Annotated[
    Annotated[SimConfig, Tag("sim")]
    | Annotated[HttpConfig, Tag("http")]
    | Annotated[LlamaConfig, Tag("llamacpp")]
    | Annotated[OwnUpstreamConfig, Tag("own")],
    Discriminator(
        _tag,
        custom_error_type="upstream_kind",
        custom_error_message=f"kind must be one of {', '.join(KINDS)}, llamacpp, sim, or an import "
        "path like 'my_package.module:MyUpstream'",
    ),
]


class UpstreamsConfig(Section):
    """Upstreams alone, as in ``configs/upstreams.yaml``."""

    upstreams: dict[str, UpstreamConfig]
