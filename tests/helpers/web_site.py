"""A web site on this machine that says what it was asked."""

from __future__ import annotations

import http.server


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        text = f"{self.path} {self.headers['host']} {body.decode()}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer  # noqa: N815  # The server asks for these names.

    def log_message(self, format: str, *args: object) -> None:
        pass
