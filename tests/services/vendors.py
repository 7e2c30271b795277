"""How the services of docs/services.md want to be called, and how each of them refuses.

From their documents and public reports, which are named; no service was called. What is common to
all is not played: each has its own address, place of the key, words and worst habit.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from tests.services.wire import (
    EVENTS,
    HTML,
    Answer,
    Protocol,
    Said,
    as_json,
    events,
    refused,
    whole,
    written,
)

KEY = "sk-marker-7d41f0a2"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "aws-marker-secret",
    "AWS_SESSION_TOKEN": "aws-marker-session",
}
ORDER = json.dumps({"reasoning": "sorted", "order": [1, 2, 3]})
BAD_PAGE = (
    b"<!DOCTYPE html><html><head><title>404: This page could not be found</title></head>"
    b"<body><script>context length exceeded</script></body></html>"
)
NOT_FOUND = Answer(404, BAD_PAGE, "text/html; charset=utf-8")


def google(message: str, code: int = 404, status: str = "NOT_FOUND") -> Answer:
    """An error of Google's, in a list as its OpenAI-compatible endpoints give it
    (genkit-ai/genkit#4688, google-gemini/gemini-cli#12823)."""
    return as_json([{"error": {"code": code, "message": message, "status": status}}], code)


@dataclass(frozen=True)
class Vendor:
    """One service.

    Args:
        model: that its command names.
        url: of a call, whole.
        key: header with the key: its name, and what stands before the key.
        elsewhere: its answer to a call of another address.
        bad_key, bad_model: its refusals.
        said: words of ``bad_key``, ``bad_model`` and ``elsewhere`` that a user is shown.
        habit: its worst one in a stream: ``no end``, ``comments``, ``no usage``, ``charset``.
        sources: of all this.
        login: ``aws`` or ``google`` if it is called without a key.
        in_body: whether the body names the model.
        headers: that have to have a value, or not to be there.
        old_limit: whether it knows ``max_tokens``.
        more: the addresses of calls in its other protocols.
    """

    model: str
    url: str
    key: tuple[str, str]
    elsewhere: Answer
    bad_key: Answer
    bad_model: Answer
    said: tuple[str, str, str]
    habit: str
    sources: tuple[str, ...]
    login: str = ""
    in_body: bool = True
    headers: Mapping[str, str | None] = field(default_factory=dict)
    old_limit: bool = True
    more: tuple[str, ...] = ()

    @property
    def urls(self) -> dict[Protocol, str]:
        """The address of a call in each protocol, with its host as it is sent."""
        found = (self.url, *self.more)
        return {spoken(url): url.replace("RESOURCE", "resource") for url in found}

    def answer(self, url: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        """The answer to a call.

        Args:
            url: as it was called: host, path and query.
            headers: with names in lower case.
        """
        body = json.loads(raw)
        verb = ":streamRawPredict" if body.get("stream") else ":rawPredict"
        known = [known.replace(":rawPredict", verb) for known in self.urls.values()]
        if url not in known:
            return self.bad_model if self.is_of_another_model(url) else self.elsewhere
        if not self._is_let_in(url, headers, raw):
            return self.bad_key
        if self.in_body and body.get("model") != self.model:
            return self.bad_model
        if not self.in_body and "model" in body:
            return refused(400, "model: Extra inputs are not permitted")
        for name, value in dict(self.headers).items():
            if headers.get(name) != value:
                return refused(400, f"{name}: {headers.get(name)!r} is not supported")
        if not self.old_limit and "max_tokens" in body:
            return refused(400, OLD_LIMIT)
        said = Said(ORDER, usage={} if self.habit == "no usage" else None)
        if not body.get("stream"):
            return as_json(whole(spoken(url), said))
        return self._stream(spoken(url), said)

    def is_of_another_model(self, url: str) -> bool:
        """Whether an address would be one of its own if it had its model."""
        places = [re.escape(known) for known in self.urls.values() if self.model in known]
        return any(
            re.fullmatch(place.replace(re.escape(self.model), "[^/]+"), url) for place in places
        )

    def _is_let_in(self, url: str, headers: Mapping[str, str], raw: bytes) -> bool:
        if self.login == "aws":
            return is_signed(url, headers, raw)
        name, before = self.key
        if name == "no-key":
            return not {"authorization", "x-api-key", "api-key"} & headers.keys()
        others = {"authorization", "x-api-key", "api-key"} - {name}
        return headers.get(name) == before + KEY and not others & headers.keys()

    def _stream(self, protocol: Protocol, said: Said) -> Answer:
        lines = written(protocol, events(protocol, said), done=self.habit != "no end")
        if self.habit == "comments":
            lines = [part for line in lines for part in (b": OPENROUTER PROCESSING\n\n", line)]
        kind = f"{EVENTS}; charset=utf-8" if self.habit == "charset" else EVENTS
        return Answer(200, lines, kind)


def spoken(url: str) -> Protocol:
    """The protocol of a call, by its address."""
    path = urlsplit(url).path
    if path.endswith("/chat/completions"):
        return "chat"
    return "responses" if path.endswith("/responses") else "messages"


OLD_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead."
)
BEARER, X_API_KEY, API_KEY = ("authorization", "Bearer "), ("x-api-key", ""), ("api-key", "")
VERSION = {"anthropic-version": "2023-06-01"}
_ANTHROPIC = Vendor(
    "claude-haiku-4-5", "https://api.anthropic.com/v1/messages", X_API_KEY,
    refused(404, "Not Found", "not_found_error"),
    refused(401, "invalid x-api-key", "authentication_error"),
    refused(404, "model: gone-1", "not_found_error"),
    ("invalid x-api-key", "model: gone-1", "Not Found"), "charset",
    ("docs.claude.com/en/api/errors",), headers=VERSION,
)  # fmt: skip
_AZURE = Vendor(
    "my-deployment", "https://RESOURCE.openai.azure.com/openai/v1/chat/completions", API_KEY,
    as_json({"error": {"code": "404", "message": "Resource not found"}}, 404),
    as_json({"error": {"code": "401", "message": "Access denied due to invalid subscription key or "
             "wrong API endpoint."}}, 401),
    as_json({"error": {"code": "DeploymentNotFound",
             "message": "The API deployment for this resource does not exist."}}, 404),
    ("invalid subscription key", "API deployment for this resource", "Resource not found"),
    "no usage",
    ("vibrantlabsai/ragas#478", "rashadphz/farfalle#79", "openai/lib/azure.py of PyPI's openai"),
    more=("https://RESOURCE.openai.azure.com/openai/v1/responses",),
)  # fmt: skip
_BEDROCK = Vendor(
    "openai.gpt-oss-120b-1:0",
    "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/chat/completions", BEARER,
    as_json({"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"},
             "Version": "1.0"}, 404),
    as_json({"Message": "Authentication failed: Please make sure your API Key is valid."}, 403),
    as_json({"error": {"code": "validation_error", "param": None, "type": "invalid_request_error",
             "message": "model `gone-1` isn't supported on this route"}}, 400),
    ("make sure your API Key is valid", "isn't supported on this route", "UnknownOperation"),
    "no end",
    ("docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html",
     "openai/providers/bedrock.py of PyPI's openai", "BerriAI/litellm#39166"),
    more=("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/responses",),
)  # fmt: skip
_BEDROCK_CLAUDE = replace(
    _ANTHROPIC, model="anthropic.claude-haiku-4-5", key=BEARER,
    url="https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages",
    bad_key=_BEDROCK.bad_key, said=("API Key is valid", "model: gone-1", "Not Found"),
    sources=("anthropic/lib/bedrock/_mantle.py of PyPI's anthropic",),
)  # fmt: skip
_SIGNED = as_json(
    {
        "message": "The security token included in the request is invalid: "
        + AWS["AWS_SESSION_TOKEN"]
    },
    403,
)
_PLACE = "aiplatform.googleapis.com/v1/projects/PROJECT/locations"
_VERTEX_404 = google("Publisher Model `gone-1` was not found or your project does not have access")
_VERTEX = Vendor(
    "google/gemini-3.5-flash", f"https://{_PLACE}/global/endpoints/openapi/chat/completions",
    BEARER, NOT_FOUND, google("Request had invalid authentication credentials.", 401, "UNAUTH"),
    _VERTEX_404, ("invalid authentication", "does not have access", "404: This page"), "no usage",
    ("docs.cloud.google.com/vertex-ai/generative-ai/docs/start/openai", "genkit-ai/genkit#4688",
     "Arize-ai/openinference#1983"),
    login="google",
)  # fmt: skip
_VERTEX_CLAUDE = replace(
    _VERTEX, model="claude-sonnet-4-5@20250929", in_body=False, habit="charset",
    url=f"https://us-east5-{_PLACE}/us-east5/publishers/anthropic/models/"
        "claude-sonnet-4-5@20250929:rawPredict",
    sources=("anthropic/lib/vertex/_client.py of PyPI's anthropic", "clawvisor/clawvisor#156"),
    headers={"anthropic-version": None},
)  # fmt: skip
_LOCAL = Vendor(
    "qwen3.5:35b", "http://127.0.0.1:11434/v1/chat/completions", ("no-key", ""),
    Answer(404, b"404 page not found", "text/plain"), as_json({}),
    as_json({"error": {"message": 'model "gone-1" not found, try pulling it first',
             "type": "api_error", "param": None, "code": None}}, 404),
    ("", "try pulling it first", "404 page not found"), "no usage",
    ("netease-youdao/QAnything#555", "docs.ollama.com/api/openai-compatibility"),
)  # fmt: skip

VENDORS: dict[str, Vendor] = {
    "openai": Vendor(
        "gpt-5.5", "https://api.openai.com/v1/chat/completions", BEARER,
        refused(404, "Invalid URL (POST /wrong/v1/responses)"),
        refused(401, f"Incorrect API key provided: {KEY}.", code="invalid_api_key"),
        refused(404, "The model `gone-1` does not exist", code="model_not_found"),
        ("Incorrect API key", "`gone-1` does not exist", "Invalid URL"), "charset",
        ("developers.openai.com/api/docs/guides/error-codes", "tsundereraws/aisub-translator#2"),
        more=("https://api.openai.com/v1/responses",),
    ),
    "anthropic": _ANTHROPIC,
    "azure": _AZURE,
    "azure-dated": replace(
        _AZURE, url="https://RESOURCE.openai.azure.com/openai/deployments/my-deployment/chat/"
                    "completions?api-version=2025-04-01-preview",
        more=("https://RESOURCE.openai.azure.com/openai/responses?api-version=2025-04-01-preview",),
    ),
    "foundry": replace(
        _AZURE, model="gpt-5.5",
        url="https://RESOURCE.services.ai.azure.com/openai/v1/chat/completions",
        more=("https://RESOURCE.services.ai.azure.com/openai/v1/responses",),
        sources=("learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",),
    ),
    "foundry-claude": replace(
        _ANTHROPIC, model="claude-sonnet-5",
        url="https://RESOURCE.services.ai.azure.com/anthropic/v1/messages",
        bad_key=_AZURE.bad_key, elsewhere=_AZURE.elsewhere,
        said=(_AZURE.said[0], "model: gone-1", _AZURE.said[2]),
        sources=("anthropic/lib/foundry.py of PyPI's anthropic",),
    ),
    "bedrock": _BEDROCK,
    "bedrock-login": replace(
        _BEDROCK, login="aws", bad_key=_SIGNED, said=("security token", *_BEDROCK.said[1:]),
        more=(),
    ),
    "bedrock-claude": _BEDROCK_CLAUDE,
    "bedrock-claude-login": replace(
        _BEDROCK_CLAUDE, login="aws", bad_key=_SIGNED,
        said=("security token", *_BEDROCK_CLAUDE.said[1:]),
    ),
    "vertex": _VERTEX,
    "vertex-claude": _VERTEX_CLAUDE,
    "gemini": Vendor(
        "gemini-3.5-flash",
        "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", BEARER,
        Answer(404, b"", "text/plain"),
        google("API key not valid. Please pass a valid API key.", 400, "INVALID_ARGUMENT"),
        google("models/gone-1 is not found for API version v1main"),
        ("API key not valid", "models/gone-1 is not found", "status 404"), "no end",
        ("ai.google.dev/gemini-api/docs/openai", "aandrew-me/tgpt#341",
         "harry0703/MoneyPrinterTurbo#739"),
    ),
    "github": Vendor(
        "openai/gpt-4.1", "https://models.github.ai/inference/chat/completions", BEARER,
        Answer(404, b"", "text/plain"),
        as_json({"error": {"code": "unauthorized", "message": "Bad credentials",
                 "details": "Bad credentials"}}, 401),
        as_json({"error": {"code": "unknown_model", "message": "Unknown model: gone-1",
                 "details": "Unknown model: gone-1"}}, 400),
        ("Bad credentials", "Unknown model: gone-1", "status 404"), "no usage",
        ("docs.github.com/en/rest/models/inference", "actions/ai-inference#116",
         "actions/ai-inference#128"),
        old_limit=False,
    ),
    "openrouter": Vendor(
        "qwen/qwen3.8-max", "https://openrouter.ai/api/v1/chat/completions", BEARER, NOT_FOUND,
        as_json({"error": {"message": "No auth credentials found", "code": 401}}, 401),
        as_json({"error": {"message": "gone-1 is not a valid model ID", "code": 400},
                 "user_id": "user_1"}, 400),
        ("No auth credentials", "not a valid model ID", "404: This page"), "comments",
        ("openrouter.ai/docs/api-reference/streaming", "icereed/paperless-gpt#805",
         "vellum-ai/vellum-assistant#25930", "krypticmouse/DSRs#10"),
        more=("https://openrouter.ai/api/v1/responses", "https://openrouter.ai/api/v1/messages"),
    ),
    "minimax": Vendor(
        "MiniMax-M3", "https://api.minimax.io/v1/chat/completions", BEARER,
        Answer(404, b"404 page not found", "text/plain"),
        as_json({"type": "error", "error": {"type": "authorized_error", "http_code": "401",
                 "message": "login fail: Please carry the API secret key (1004)"}}, 401),
        as_json({"choices": None, "base_resp": {"status_code": 2013,
                 "status_msg": "invalid params, unknown model 'gone-1'"}}),
        ("login fail", "unknown model 'gone-1'", "404 page not found"), "no end",
        ("wavetermdev/waveterm#3238", "MiniMax-AI/MiniMax-01#37", "nearai/ironclaw#1742"),
    ),
    "minimax-anthropic": replace(
        _ANTHROPIC, model="MiniMax-M3", url="https://api.minimax.io/anthropic/v1/messages",
        elsewhere=Answer(404, b"404 page not found", "text/plain"),
        said=("invalid x-api-key", "model: gone-1", "404 page not found"),
        sources=("platform.minimax.io/docs/api-reference/text-anthropic-api",
                 "NevaMind-AI/memUBot#7"),
    ),
    "qwen": Vendor(
        "qwen3.8-max",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions", BEARER,
        Answer(404, b"", HTML),
        as_json({"error": {"message": "Incorrect API key provided. ", "type":
                 "invalid_request_error", "code": "invalid_api_key"}, "request_id": "1"}, 401),
        as_json({"error": {"message": "The model `gone-1` does not exist or you do not have access "
                 "to it.", "code": "model_not_found"}, "id": "chatcmpl-1"}, 404),
        ("Incorrect API key", "do not have access", "status 404"), "charset",
        ("alibabacloud.com/help/en/model-studio/error-code",),
    ),
    "litellm": Vendor(
        "my-model", "http://127.0.0.1:4000/v1/chat/completions", BEARER,
        as_json({"detail": "Not Found"}, 404),
        as_json({"error": {"message": "Authentication Error, Invalid proxy server token passed.",
                 "type": "auth_error", "param": "None", "code": "401"}}, 401),
        as_json({"error": {"message": "400: {'error': 'Invalid model name passed in model=gone-1'}",
                 "type": "None", "param": "None", "code": 400}}, 400),
        ("Invalid proxy server token", "Invalid model name", "Not Found"), "charset",
        ("BerriAI/litellm#3142", "docs.litellm.ai/docs/simple_proxy"),
        more=("http://127.0.0.1:4000/v1/responses", "http://127.0.0.1:4000/v1/messages"),
    ),
    "ollama": replace(
        _LOCAL, more=("http://127.0.0.1:11434/v1/responses", "http://127.0.0.1:11434/v1/messages"),
    ),
    "lm-studio": replace(
        _LOCAL, model="qwen/qwen3.5-35b", url="http://127.0.0.1:1234/v1/chat/completions",
        more=("http://127.0.0.1:1234/v1/responses", "http://127.0.0.1:1234/v1/messages"),
        elsewhere=as_json({"error": "Unexpected endpoint or method. (POST /wrong/v1/responses)"}),
        bad_model=as_json({"error": {"message": "Invalid model identifier \"gone-1\".",
                           "type": "invalid_request_error", "code": "model_not_found"}}, 404),
        said=("", "Invalid model identifier", "Unexpected endpoint or method"),
        sources=("lmstudio-ai/lmstudio-bug-tracker#618", "pssah4/vault-operator#73"),
    ),
    "vllm": replace(
        _LOCAL, model="Qwen/Qwen3.5-35B", url="http://127.0.0.1:8000/v1/chat/completions",
        elsewhere=as_json({"detail": "Not Found"}, 404),
        bad_model=as_json({"object": "error", "message": "The model `gone-1` does not exist.",
                           "type": "NotFoundError", "param": None, "code": 404}, 404),
        said=("", "`gone-1` does not exist", "Not Found"),
        sources=("vllm-project/vllm#3485", "OpenBMB/MiniCPM-V#451"),
    ),
    "llama-server": replace(
        _LOCAL, model="my-model", url="http://127.0.0.1:8080/v1/chat/completions",
        elsewhere=as_json({"error": {"code": 404, "message": "File Not Found",
                           "type": "not_found_error"}}, 404),
        bad_model=as_json({"error": {"code": 400, "message": "model 'gone-1' not found",
                           "type": "invalid_request_error"}}, 400),
        said=("", "model 'gone-1' not found", "File Not Found"),
        sources=("tools/server/README.md of ggml-org/llama.cpp",),
    ),
}  # fmt: skip
"""By the name of the block."""


def is_signed(url: str, headers: Mapping[str, str], raw: bytes) -> bool:
    """Whether a request is signed with the credentials of :data:`AWS`, computed as in AWS's
    documents (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
    and not by the package that signs."""
    pattern = (
        r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d+)/([\w-]+)/([\w-]+)/aws4_request, "
        r"SignedHeaders=([\w;-]+), Signature=(\w+)"
    )
    found = re.fullmatch(pattern, headers.get("authorization", ""))
    if not found or headers.get("x-amz-security-token") != AWS["AWS_SESSION_TOKEN"]:
        return False
    id, day, region, service, names, signature = found.groups()
    parts = urlsplit(url)
    mantle = parts.netloc.startswith("bedrock-mantle.")
    right = ("AKIDEXAMPLE", "us-east-1", "bedrock-mantle" if mantle else "bedrock")
    if (id, region, service) != right or not {"host", "x-amz-date"} <= set(names.split(";")):
        return False
    sent: dict[str, Any] = {name: " ".join(headers[name].split()) for name in names.split(";")}
    lines = "".join(f"{name}:{value}\n" for name, value in sent.items())
    digest = hashlib.sha256(raw).hexdigest()
    request = "\n".join(["POST", parts.path, parts.query, lines, names, digest])
    scope = f"{day}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed])
    key = ("AWS4" + AWS["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, region, service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(key.hex(), signature)
