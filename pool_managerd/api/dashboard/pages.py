"""The routes of the pages and of what they load. They hold no data: that comes from /v2, with the token."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

#: Only our own files and our own API; nobody may frame the pages.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/assets/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/assets/render.js": ("render.js", "text/javascript; charset=utf-8"),
    "/assets/stream.js": ("stream.js", "text/javascript; charset=utf-8"),
    "/assets/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/assets/style.css": ("style.css", "text/css; charset=utf-8"),
    "/assets/icon.svg": ("icon.svg", "image/svg+xml"),
}


def routes(openapi: Callable[[], bytes]) -> list[Route]:
    """Make the routes; ``openapi`` makes the document that ``/openapi.json`` serves, when it is first asked for."""
    folder = files(__package__)
    found = [
        Route(path, _serve((folder / name).read_bytes, media_type), methods=["GET"])
        for path, (name, media_type) in _PAGES.items()
    ]
    return [*found, Route("/openapi.json", _serve(openapi, "application/json"), methods=["GET"])]


def _serve(read: Callable[[], bytes], media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content_of = functools.cache(read)

    async def page(request: Request) -> Response:
        content = content_of()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            "content-type": media_type,
            "etag": etag,
            "cache-control": "no-cache",
            "content-security-policy": CONTENT_SECURITY_POLICY,
            "referrer-policy": "no-referrer",
        }
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return page
