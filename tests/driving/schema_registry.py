"""A small schema registry over real HTTP, with the requests that serializers and `vitals mapper` make.

Owns schemas by subject and number, a user and password that it may ask for, and being away. Must not know which schemas
there are. Answers as Confluent's registry does, as far as its own clients in Python need.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

USER, PASSWORD = "reader", "registry-password"


class SchemaRegistry:
    """Runs while it is entered. `away` is the HTTP status of every answer while it is set."""

    def __init__(self, *, protected: bool = False) -> None:
        """Begin without schemas; `protected` asks for `USER` and `PASSWORD`."""
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.away: int | None = None
        self.asked: list[str] = []
        self.authorization = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}" if protected else None
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body: Mapping[str, Any]) -> None:
                registry.asked.append(self.path)
                status, content = registry.respond(self.command, self.path, body, self.headers["Authorization"])
                encoded = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, subject: str, schema: Mapping[str, Any]) -> int:
        """Register a schema as a POST does; returns its number."""
        known = {key: schema[key] for key in ("schema", "schemaType", "references") if schema.get(key)}
        if known not in self.schemas:
            self.schemas.append(known)
        number = self.schemas.index(known) + 1
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def respond(
        self, method: str, target: str, body: Mapping[str, Any], authorization: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Status and content of an answer."""
        if self.away is not None:
            return self.away, {"error_code": self.away, "message": "away"}
        if self.authorization not in {None, authorization}:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        path = urlsplit(target).path
        if method == "POST":
            return self._post(path, body)
        if match := re.fullmatch(r"/schemas/ids/(\d+)", path):
            schemas, code = self.schemas[int(match[1]) - 1 : int(match[1])], 40403
        else:
            schemas, code = self._version(path), 40401
        return (200, schemas[0]) if schemas else (404, {"error_code": code, "message": "not found"})

    def _post(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        subject = unquote(path.split("/")[2])
        number = self.add(subject, body)
        version = self.subjects[subject].index(number) + 1
        return 200, {"id": number, "subject": subject, "version": version, **self.schemas[number - 1]}

    def _version(self, path: str) -> list[dict[str, Any]]:
        """The schema of a subject's version, if there is one."""
        match = re.fullmatch(r"/subjects/([^/]+)/versions/(\d+)", path)
        if match is None:
            return []
        numbers = self.subjects.get(unquote(match[1]), [])[int(match[2]) - 1 : int(match[2])]
        return [{"subject": unquote(match[1]), **self.schemas[number - 1]} for number in numbers]
