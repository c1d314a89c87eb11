"""Asks a schema registry for schemas by their number, over the HTTP API that Confluent's registry has and others copy.

Owns the requests and what an answer means: a schema, that there is none with this number, or that the registry cannot
be used now. A schema never changes under its number, so each is asked for once. Must not know what schemas say.
Called by `agents.mapper.registry.decoding`.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

from agents.process.errors import error_text
from agents.settings.settings import Settings

TIMEOUT_S = 10.0
_UNKNOWN = {40401, 40402, 40403}
"""The registry's codes for a subject, a version and a schema that it does not have; a proxy's 404 has none of them."""
_ADVICE: dict[int, str] = {
    http.client.UNAUTHORIZED: "; check VITALS_REGISTRY_USERNAME and VITALS_REGISTRY_PASSWORD",
    http.client.FORBIDDEN: "; this user may not read the schema",
}
_LARGEST_ANSWER = 16 * 1024 * 1024
_MOST_SHOWN = 200


class RegistryUnavailableError(Exception):
    """The registry gives no answer, or one that only other settings or a later time can change."""


class UnknownSchemaError(ValueError):
    """The registry has no such schema."""


class Schema(NamedTuple):
    """A schema: its type (`AVRO`, `PROTOBUF` or `JSON`), its text, and the schemas that it refers to."""

    kind: str
    text: str
    references: tuple[Reference, ...] = ()


class Reference(NamedTuple):
    """A schema that another one refers to by `name`."""

    name: str
    subject: str
    version: int


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Credentials go nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Registry:
    """One registry. Raises `RegistryUnavailableError` and `UnknownSchemaError`."""

    def __init__(self, settings: Settings) -> None:
        """Store where it is. Raises `SettingsError` for a certificate that cannot be used."""
        assert settings.registry_url is not None
        self.url = settings.registry_url.rstrip("/")
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if settings.registry_username is not None and settings.registry_password is not None:
            pair = f"{settings.registry_username}:{settings.registry_password.get_secret_value()}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        context = settings.registry_ssl_context()
        handlers = [] if context is None else [urllib.request.HTTPSHandler(context=context)]
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects, *handlers)

    def by_id(self, number: int) -> Schema:
        """The schema with a number."""
        return self._schema(f"/schemas/ids/{number}")

    def of(self, reference: Reference) -> Schema:
        """The schema that another one refers to."""
        subject = urllib.parse.quote(reference.subject, safe="")
        return self._schema(f"/subjects/{subject}/versions/{reference.version}")

    def _schema(self, path: str) -> Schema:
        answer = self._get(path)
        kind = answer.get("schemaType", "AVRO")
        if kind == "PROTOBUF":  # as a descriptor, so that nothing has to understand the text
            answer = self._get(f"{path}?format=serialized")
        try:
            references = tuple(
                Reference(str(each["name"]), str(each["subject"]), int(each["version"]))
                for each in answer.get("references") or ()
            )
            return Schema(str(kind), str(answer["schema"]), references)
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryUnavailableError(f"{self.url}{path} answers no schema: {error_text(error)}") from error

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, headers=self._headers)  # noqa: S310 -- checked by the setting
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                content = json.loads(answer.read(_LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            raise self._refusal(path, error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RegistryUnavailableError(f"the schema registry {self.url} failed: {error_text(error)}") from error
        if not isinstance(content, dict):
            raise RegistryUnavailableError(f"{self.url}{path} answers no JSON object")
        return content

    def _refusal(self, path: str, error: urllib.error.HTTPError) -> Exception:
        try:
            content = json.loads(error.read(_LARGEST_ANSWER))
            code, message = content.get("error_code"), str(content.get("message"))[:_MOST_SHOWN]
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            code, message = None, str(error.reason)[:_MOST_SHOWN]
        if error.code == http.client.NOT_FOUND and code in _UNKNOWN:
            return UnknownSchemaError(f"the schema registry {self.url} has no {path}: {message}")
        advice = _ADVICE.get(error.code, "")
        return RegistryUnavailableError(f"the schema registry {self.url} answers {error.code} {message}{advice}")
