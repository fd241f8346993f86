"""A small model hub on loopback: the three routes by which huggingface_hub looks up and downloads a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def blob_id(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class FakeHub:
    """Models by id, each its files by name. gated: ids that it gives nobody. asked: paths of requests, in order."""

    def __init__(self, models: Mapping[str, Mapping[str, bytes]], gated: tuple[str, ...] = ()) -> None:
        self.models, self.gated = models, gated
        self.asked: list[str] = []
        self.url = ""

    @property
    def downloaded(self) -> set[str]:
        """The names of files whose content was asked for."""
        return {path.rsplit("/", 1)[1] for path in self.asked if path.startswith("GET ") and "/resolve/" in path}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, route = "/".join(parts[2:4]), parts[4] if len(parts) > 4 else ""
        else:
            name, route = "/".join(parts[:2]), parts[2]
        if name in self.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}, b"{}"
        if name not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        files = self.models[name]
        if route == "resolve":
            data = files["/".join(parts[4:])]
            return (
                200,
                {"ETag": f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"', "X-Repo-Commit": COMMIT},
                data,
            )
        if route == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)} for path, data in files.items()
            ]
            return 200, {}, json.dumps(listed).encode()
        siblings = [{"rfilename": path} for path in files]
        return 200, {}, json.dumps({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def running_hub(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub on a free port, whose URL it then has."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = respond

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
