"""Who is to blame when a model service refuses a request, by what it says and not by its status.

Only two refusals are the agent's: its conversation has become too long, and its content is not
accepted. All others are the infrastructure's: the account, the address, the way in which a request
is put. In doubt a failure is the infrastructure's, as a wrong score is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from harnesses.json_values import loads

Blame = Literal["agent", "service"]

_TOO_LONG = re.compile(
    r"context_length_exceeded|context_window_exceeded|exceed_context_size|string_above_max_length"
    r"|request_too_large"
    r"|(prompt|input|conversation|messages?|request)\b.{0,40}\b(is|are|was|were)? ?too (long|large)"
    r"|(exceed|larger than|longer than|beyond|over|reached|above)\w*\b.{0,60}"
    r"(context (length|window|size|limit)|maximum (context|prompt|input) )"
    r"|maximum (context|prompt|input) (length|size|tokens)"
    r"|context( length| window| size| limit)?\b.{0,30}\b(exceed|overflow|full\b|too small)"
    r"|too many (input|prompt) tokens"
    r"|reduce the length",
    re.IGNORECASE | re.DOTALL,
)
_CONTENT = re.compile(
    r"content[_ ](policy|filter|management)|invalid_prompt|responsibleaipolicy|policy_violation"
    r"|usage polic|safety (system|filter|polic|reason|check)|flagged|moderation|prohibited_content"
    r"|sensitive (content|words?)|risk control|data_inspection_failed|content exists risk",
    re.IGNORECASE,
)
_REPLY_TOKENS = re.compile(r"max_(completion_|output_)?tokens|max_new_tokens", re.IGNORECASE)
_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|credit balance|credits? (are|is|has|have)?\b.{0,20}"
    r"(exhausted|used up|depleted|too low|insufficient)|(insufficient|not enough) (balance|credit"
    r"|funds|quota)|exceeded your current quota|quota.{0,30}(exhausted|used up)|payment required"
    r"|billing",
    re.IGNORECASE,
)


HINTS = {
    "subscription_sharing_usage_limit_exceeded":
        "the plan's limit, or the one for this app, is reached; see chatgpt.com/settings/usage",
    "subscription_sharing_user_not_eligible":
        "this ChatGPT account may not use its plan here: it takes Plus or Pro, and a workspace "
        "that allows it",
    "subscription_sharing_unsupported_capability":
        "a ChatGPT plan does not offer a part of the request; use an API key for it",
    "subscription_sharing_route_not_supported":
        "a ChatGPT plan does not offer this model or address; name another model, or use an API "
        "key",
    "subscription_sharing_invalid_user":
        "the sign-in is no longer valid: run 'skillopt login chatgpt' again",
    "subscription_sharing_usage_unavailable":
        "the service cannot say now how much of the plan is left; it is asked again",
}  # fmt: skip
"""What a refusal of the route means and what to do, by its code (errors-and-recovery, same pages).
"""

_PLAN_LIMIT = re.compile(r"usage_limit_(reached|exceeded)", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """What a service said when it refused a request.

    Args:
        status: the HTTP status; 0 if it was said inside a reply with status 200.
        text: in the service's words.
        kind: its code and type, as far as it gives them.
    """

    status: int
    text: str
    kind: str = ""

    @property
    def said(self) -> str:
        return f"{self.kind} {self.text}"

    @property
    def too_long(self) -> bool:
        """Whether the conversation is too long for the model, whatever reply is asked for."""
        if _REPLY_TOKENS.search(self.text):
            return False
        return self.status == 413 or bool(_TOO_LONG.search(self.said))

    @property
    def reply_tokens(self) -> bool:
        """Whether the context is too small for the reply tokens that were asked for."""
        return self.status in (0, 400, 422) and bool(_REPLY_TOKENS.search(self.text))

    @property
    def content(self) -> bool:
        """Whether the content is not accepted."""
        return self.status not in (401, 404, 429) and bool(_CONTENT.search(self.said))

    @property
    def plan_limit(self) -> bool:
        """Whether a window of a plan is used up, by the code of the refusal."""
        return bool(_PLAN_LIMIT.search(self.kind))

    @property
    def quota(self) -> bool:
        """Whether credit or quota is used up, which no short wait mends."""
        return self.plan_limit or bool(_QUOTA.search(self.said))

    @property
    def blame(self) -> Blame:
        """The agent's, if the conversation is too long or its content is refused."""
        if self.status in (401, 402, 404, 429) or self.status >= 500 or self.quota:
            return "service"
        return "agent" if self.too_long or self.content else "service"


def refusal_of(status: int, raw: bytes) -> Refusal:
    """What an answer with an error status says.

    Args:
        status: not 200.
        raw: its body, of any form.
    """
    text = raw[:2000].decode("utf-8", "replace").strip()
    try:
        body = loads(raw[: 1024 * 1024])
    except ValueError:
        return Refusal(status, _page_title(text))
    if isinstance(body, list) and len(body) == 1:  # As Gemini answers.
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        kinds = [error.get(key) for key in ("code", "type", "status")]
        message = _message(error, text)
        if hint := HINTS.get(str(error.get("code"))):
            message = f"{message} ({hint})"
        return Refusal(status, message, " ".join(str(k) for k in kinds if k))
    return Refusal(status, error if isinstance(error, str) else text)


def _page_title(text: str) -> str:
    """What a page of a web site is about: the site is no model service, or not at this address."""
    if not re.match(r"<(!doctype|html)", text, re.IGNORECASE):
        return text
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", title[1] if title else "").split())
    return f"a web page ({words or 'without a title'})"


def _message(error: dict[str, Any], text: str) -> str:
    """The message of an error object; with what a router adds of its provider's answer."""
    message = error.get("message")
    if not isinstance(message, str):
        return text
    more = error.get("metadata")
    raw = more.get("raw") if isinstance(more, dict) else None
    return f"{message}: {raw[:1000]}" if isinstance(raw, str) else message
