"""A local server that speaks the protocol of the Hugging Face hub, as far as fetching files of models needs it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A repository with one commit."""

    files: dict[str, bytes]
    license: str | None = "apache-2.0"
    commit: str = COMMIT
    file_status: int = 200  # of requests for files; others are errors
    error_code: str = ""  # X-Error-Code of such an answer
    announced: dict[str, str] = field(default_factory=dict)  # SHA-256 by file, in place of the real one


@dataclass
class Hub:
    """The state of the server."""

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # method, path and range
    cuts: list[int] = field(default_factory=list)  # the next downloads end after these numbers of bytes
    status_after_cut: int = 206  # of a request that resumes


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif parts[0] == "content":
            self._send_content("/".join(parts[1:3]), parts[3])
        else:
            self._redirect("/".join(parts[:2]), parts[3], parts[4])

    def _find(self, name: str, revision: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            self._send(404 if "secret" not in name else 401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", found.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return found

    def _describe(self, name: str, revision: str) -> None:
        if found := self._find(name, revision):
            siblings = [
                {"rfilename": file, "size": len(content), "lfs": self._describe_lfs(found, file)}
                for file, content in found.files.items()
            ]
            card = {"cardData": {"license": found.license}} if found.license else {}
            body = json.dumps({"id": name, "sha": found.commit, "siblings": siblings, **card}).encode()
            self._send(200, {"Content-Type": "application/json"}, body)

    def _describe_lfs(self, found: Repository, file: str) -> dict[str, object] | None:
        if file.endswith(".json"):
            return None
        digest = found.announced.get(file) or hashlib.sha256(found.files[file]).hexdigest()
        return {"sha256": digest, "size": len(found.files[file]), "pointerSize": 134}

    def _redirect(self, name: str, revision: str, file: str) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        if found.file_status != 200:
            self._send(found.file_status, {"X-Error-Code": found.error_code} if found.error_code else {})
            return
        if file not in found.files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found.commit})
            return
        content = found.files[file]
        headers = {
            "X-Repo-Commit": found.commit,
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            # Another host, as that of large files is; the client follows redirects to the same host itself.
            "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/content/{name}/{file}",
        }
        self._send(302, headers)

    def _send_content(self, name: str, file: str) -> None:
        content = self.hub.repositories[name].files[file]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start and self.hub.status_after_cut != 206:
            self._send(self.hub.status_after_cut)
            return
        end = self.hub.cuts.pop(0) if self.hub.cuts else len(content)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:end])
        self.close_connection = end < len(content)

    def _send(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run the server on a free port."""
    handler = type("HubHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.hub = hub = Hub(f"http://127.0.0.1:{server.server_port}")
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
