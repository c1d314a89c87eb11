"""The worker's web server: `/metrics`, `/healthz`, `/readyz`. It listens on loopback unless a setting says otherwise.

Owns the answers, not the numbers. Faust's own web server stays off: by default it shows table data to everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Problems = Callable[[], list[str]]


class WebServer:
    """Serves a registry and two lists of problems."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        *,
        refresh: Callable[[], None],
        health: Problems,
        ready: Problems,
    ) -> None:
        """`refresh` brings gauges up to date; `health` and `ready` return problems, none when all is well."""
        self._host, self._port = host, port
        self._registry, self._refresh = registry, refresh
        self._health, self._ready = health, ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._answer(self._health)),
                web.get("/readyz", self._answer(self._ready)),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        self._refresh()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @staticmethod
    def _answer(problems: Problems) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            del request
            current = problems()
            return web.json_response({"ok": not current, "problems": current}, status=503 if current else 200)

        return answer
