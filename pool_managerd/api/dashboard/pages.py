"""The routes of the pages and of what they load. They hold no data: that comes from /v2, with the token."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

#: Only our own files and our own API; nobody may frame the pages; and no text can become markup (trusted types).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

#: What a file is served as, by its ending.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGES = {"/": "index.html", "/docs": "docs.html"}


def routes(openapi: Callable[[], bytes]) -> list[Route]:
    """Make the routes; ``openapi`` makes the document that ``/openapi.json`` serves, when it is first asked for."""
    folder = files(__package__)
    served = dict(_PAGES)
    for file in folder.iterdir():
        if PurePath(file.name).suffix in _MEDIA_TYPES and file.name not in _PAGES.values():
            served[f"/assets/{file.name}"] = file.name
    found = [
        Route(path, _serve((folder / name).read_bytes, _MEDIA_TYPES[PurePath(name).suffix]), methods=["GET"])
        for path, name in served.items()
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
