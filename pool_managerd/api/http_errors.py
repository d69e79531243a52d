"""Errors as HTTP answers."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pool_managerd.api import correlation, problems
from pool_managerd.api.json_values import dump
from pool_managerd.core.errors import Code, PoolManagerError, shown


def problem_response(error: PoolManagerError) -> Response:
    """Render an error as a problem document with its status and headers."""
    headers: dict[str, str] = {}
    if (seconds := problems.retry_after_seconds(error)) is not None:
        headers["retry-after"] = str(seconds)
    if error.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="pool-managerd"'
    return Response(
        dump(problems.problem(error, correlation.current())),
        status_code=error.info.http_status,
        headers=headers,
        media_type=problems.MEDIA_TYPE,
    )


def fault_response(fault: BaseException, *, method: str, path: str) -> Response:
    """Render whatever was raised; what is no refusal of ours is INTERNAL and logged with its trace."""
    doing = f"{method} {shown(path)[1:-1]}"
    return problem_response(problems.as_error(fault, doing=doing, correlation_id=correlation.current()))


async def no_such_route(request: Request, exception: Exception) -> Response:
    """Answer for the router, which knows neither problem documents nor our codes."""
    status = exception.status_code if isinstance(exception, HTTPException) else HTTPStatus.NOT_FOUND
    path = shown(request.scope["path"])[1:-1]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (exception.headers or {}).get("Allow", "") if isinstance(exception, HTTPException) else ""
        response = problem_response(
            PoolManagerError(
                Code.METHOD_NOT_ALLOWED,
                f"{request.method} is not allowed on {path}",
                hint=f"allowed: {allowed}" if allowed else None,
                details={"allowed": [method.strip() for method in allowed.split(",") if method.strip()]},
            )
        )
        response.headers["allow"] = allowed
        return response
    return problem_response(
        PoolManagerError(Code.NOT_FOUND, f"there is no route {path}", hint="/openapi.json lists all routes")
    )
