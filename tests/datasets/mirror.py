"""A download mirror with faults."""

import http.server
from typing import Any

NAME = "cifar-10-python.tar.gz"


class Mirror(http.server.ThreadingHTTPServer):
    """A web server on this machine that can be told to misbehave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []  # one is used up by each request
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/data"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        fault = self.server.faults.pop(0) if self.server.faults else ""
        content = self.server.files.get(self.path.partition("?")[0].removeprefix("/data/"))
        if fault.startswith("redirect "):
            self.send_response(302)
            self.send_header("Location", fault.removeprefix("redirect "))
            self.end_headers()
            return
        if content is None or fault.isdigit():
            self.send_error(int(fault or 404))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "flip":
            content = bytes([content[0] ^ 1]) + content[1:]
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def log_message(self, *_: Any) -> None:
        pass
