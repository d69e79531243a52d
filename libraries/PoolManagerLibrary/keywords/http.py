"""Raw HTTP: any request, well formed or not."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

from robot.api import logger
from robot.api.deco import keyword
from robot.libraries.BuiltIn import BuiltIn

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.http_client import raw_exchange
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.units import parse_size, seconds


class HttpKeywords(Keywords):
    """Keywords about HTTP."""

    @keyword
    def http_request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        headers: dict[str, str] | None = None,
    ) -> Outcome:
        """Sends any request to the daemon and notes the answer without judging it.

        ``{pool}`` in the path, and ``{pool:chat}``, become a pool's id. A text as body is sent as it is; a
        dictionary or list as JSON.

        Example:
        | Http Request | POST | /v2/pools/{pool}/drain | {"deadline_ms": -1} |
        | Answer Should Be | 400 INVALID_REQUEST |
        """
        self.scenario.act(f"{method} {path}")
        sent = dict(headers or {})
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        if data == "":
            data = None
        if data is not None:
            sent.setdefault("Content-Type", content_type or "application/json")
        outcome = self.daemon.http.request(method, self.fill(path), data=data, headers=sent, timeout=seconds(timeout))
        logger.debug(outcome.describe())
        return self.scenario.answered(outcome)

    def fill(self, text: str) -> str:
        """Put pool ids into ``{pool}`` and ``{pool:name}``."""
        return re.sub(r"\{pool(?::([\w-]+))?\}", lambda match: self.scenario.pool_id(match[1] or "the pool"), text)

    @keyword
    def http_request_with_large_body(
        self, path: str, size: str, method: str = "POST", chunked: bool = False
    ) -> Outcome:
        """Sends a body of a given size that is one JSON text, with a length or in chunks, and notes the answer.

        Example:
        | Http Request With Large Body | /v2/pools/{pool}/drain | 10 MiB |
        | Answer Should Be | 413 REQUEST_TOO_LARGE |
        """
        count = parse_size(size)
        path = self.fill(path)
        daemon = self.daemon
        self.scenario.act(f"{method} {path} with {size}")
        address = daemon.http_address or ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        filling = b'{"x":"' + b"a" * (count - 8) + b'"}'
        if chunked:
            payload = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
            payload += b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _parts(filling, 65536)) + b"0\r\n\r\n"
        else:
            payload = f"{head}Content-Length: {len(filling)}\r\n\r\n".encode() + filling
        return self.scenario.answered(_parse(raw_exchange(address, payload), f"{method} {path}"))

    @keyword
    def send_raw_http(self, text: str, address: str | None = None) -> Outcome:
        """Sends bytes as they are to the HTTP port (or ``address``) and notes what comes back.

        Example:
        | Send Raw Http | GET /health HTTP/1.0${CRLF}${CRLF} |
        | Answer Should Be | 200 |
        """
        daemon = self.daemon
        self.scenario.act("raw bytes")
        payload = self.fill(text).encode("utf-8", errors="surrogateescape")
        return self.scenario.answered(_parse(raw_exchange(address or daemon.http_address or "", payload), "raw HTTP"))

    @keyword
    def send_garbage_to_grpc(self, size: str = "4 KiB") -> None:
        """Sends bytes that are no gRPC to the gRPC port.

        Example:
        | Send Garbage To Grpc |
        """
        daemon = self.daemon
        self.scenario.act("garbage on the gRPC port")
        raw_exchange(daemon.grpc_address or "", bytes(range(256)) * max(1, parse_size(size) // 256), timeout=1)

    @keyword
    def open_http_session(self, alias: str = "daemon") -> str:
        """Makes a RequestsLibrary session to the daemon, without any proxy, and returns its base URL.

        Example:
        | Open Http Session |
        | ${answer} = | GET On Session | daemon | /health |
        """
        url = f"http://{self.daemon.http_address}" if not self.daemon.remote else str(self.world.url)
        requests_library: Any = BuiltIn().get_library_instance("RequestsLibrary")
        session = requests_library.create_session(alias, url)
        session.trust_env = False
        if self.daemon.token:
            session.headers["Authorization"] = f"Bearer {self.daemon.token}"
        return url

    @keyword
    def answers_should_be_alike(self, path: str, other: str) -> None:
        """Checks that GET of two paths has the same status and the same document.

        Example:
        | Answers Should Be Alike | /ready | /readyz |
        """
        first, second = self.daemon.http.request("GET", path), self.daemon.http.request("GET", other)
        if (first.status, first.body) != (second.status, second.body):
            raise ExpectationFailed(
                f"GET {other} should answer as GET {path}:\n{second.describe()}\n{first.describe()}"
            )


def _parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _parse(answer: bytes, call: str) -> Outcome:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode(errors="replace").split("\r\n")
    parts = lines[0].split(" ", 2)
    status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
    headers = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:]) if key}
    lower = {key.lower(): value for key, value in headers.items()}
    if lower.get("transfer-encoding") == "chunked":
        body = _dechunk(body)
    document: Any = None
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    ok = 200 <= status < 300
    problem = document if not ok and isinstance(document, dict) and "code" in document else None
    return Outcome(Protocol.HTTP, call, ok, status, document, body.decode(errors="replace"), headers, problem)


def _dechunk(body: bytes) -> bytes:
    result = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            count = int(size.split(b";")[0], 16)
        except ValueError:
            break
        if count == 0:
            break
        result, body = result + rest[:count], rest[count + 2 :]
    return result
