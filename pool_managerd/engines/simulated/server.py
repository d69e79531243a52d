"""The stand-in engine's HTTP server: a thread per connection, keep-alive, streaming. Standard library only."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing this costs more than the rest of the module
    from typing import Any

    from pool_managerd.engines.simulated.standin import StandIn

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS |= {500: "Internal Server Error", 503: "Service Unavailable"}
_MAX_HEAD = 65536
_MAX_BODY = 16 << 20
_COMPLETIONS = ("/v1/completions", "/v1/chat/completions", "/completion", "/completions")


def serve(engine: StandIn, listener: socket.socket) -> None:
    """Accept connections for as long as the process lives."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError as error:
            engine.log(f"srv        accept: {error}", "E")
            time.sleep(0.05)
            continue
        threading.Thread(target=_Connection(engine, peer).run, daemon=True).start()


class _Connection:
    """One client."""

    def __init__(self, engine: StandIn, peer: socket.socket) -> None:
        self.engine = engine
        self.peer = peer
        self.received = b""
        self.at = 0.0
        self.method = self.path = self.query = ""
        self.keep_alive = True

    def run(self) -> None:
        """Answer requests until the client, an error or HTTP/1.0 closes the connection."""
        try:
            self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self.keep_alive and self._read_head():
                self._answer()
        except (OSError, ValueError):
            pass  # the client has gone, or never spoke HTTP
        finally:
            self.peer.close()

    # reading --------------------------------------------------------------------------------------------------

    def _read_head(self) -> bool:
        while b"\r\n\r\n" not in self.received:
            part = self.peer.recv(65536)
            if not part or len(self.received) > _MAX_HEAD:
                return False
            self.received += part
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        self.at = time.time()
        lines = head.decode("latin-1").split("\r\n")
        self.method, target, version = lines[0].split(" ", 2)
        self.path, _, self.query = target.partition("?")
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        connection = self.headers.get("connection", "").lower()
        self.keep_alive = connection != "close" and (version == "HTTP/1.1" or connection == "keep-alive")
        return True

    def _read_body(self) -> bytes:
        length = int(self.headers.get("content-length", "0"))
        if length > _MAX_BODY:
            raise ValueError("body too large")
        if self.headers.get("expect", "").lower() == "100-continue":
            self.peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self.received) < length:
            part = self.peer.recv(65536)
            if not part:
                raise ValueError("the client has gone")
            self.received += part
        body, self.received = self.received[:length], self.received[length:]
        return body

    # answering ------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        body = self._read_body()
        engine = self.engine
        if engine.values["hang"]:
            engine.note_request(self.at, self.method, self.path, None)
            while engine.values["hang"]:
                engine.wait_changed(None)
            # Noted already; once more if somebody still waits for what comes now.
            self.at = time.time() if self._is_awaited() else 0.0
        if engine.values["answer_ms"]:
            time.sleep(engine.values["answer_ms"] / 1000)
        if self.path in _COMPLETIONS or self._is_triton:
            self._complete(body)
        elif self.method not in ("GET", "HEAD"):
            self._send_error(405 if self.path in _ROUTES else 404, f"{self.method} {self.path} is not served")
        elif self.path in _ROUTES:
            _ROUTES[self.path](self)
        elif self.path.startswith("/v2/models/") and self.path.endswith("/ready"):
            self.health()
        else:
            self._send_error(404, "File Not Found")

    def _is_awaited(self) -> bool:
        """Whether the client has not closed its side meanwhile."""
        try:
            return bool(self.peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True

    def _send(self, status: int, body: bytes, kind: str = "application/json; charset=utf-8") -> None:
        if self.at:
            self.engine.note_request(self.at, self.method, self.path, status)
        head = self._head(status, kind) + f"Content-Length: {len(body)}\r\n\r\n"
        self.peer.sendall(head.encode() + (b"" if self.method == "HEAD" else body))

    def _head(self, status: int, kind: str) -> str:
        version = self.engine.values["http_version"]
        if version == "1.0":
            self.keep_alive = False
        connection = "keep-alive" if self.keep_alive else "close"
        reason = _REASONS.get(status, "Status")
        return f"HTTP/{version} {status} {reason}\r\nContent-Type: {kind}\r\nConnection: {connection}\r\n"

    def _send_json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value, separators=(",", ":")).encode())

    def _send_error(self, status: int, message: str) -> None:
        kind = {404: "not_found_error", 503: "unavailable_error"}.get(status, "invalid_request_error")
        self._send_json({"error": {"code": status, "message": message, "type": kind}}, status)

    def _refused_as_loading(self) -> bool:
        if self.engine.is_loaded():
            return False
        self._send_error(503, "Loading model")
        return True

    # what an engine is asked ----------------------------------------------------------------------------------

    def health(self) -> None:
        """Answer the health check: 503 while loading, then 200, or what it was told."""
        engine = self.engine
        if engine.values["health_status"]:
            status = engine.values["health_status"]
            self._send_json({"status": "ok"} if status == 200 else {"error": {"code": status}}, status)
        elif not self._refused_as_loading():
            if engine.take_health_failure():
                self._send_error(500, "told to fail")
            else:
                self._send_json({"status": "ok"})

    def live(self) -> None:
        """Say that the process lives."""
        self._send_json({})

    def slots(self) -> None:
        """Answer in the form of llama-server's /slots."""
        if self._refused_as_loading():
            return
        total, busy = self.engine.slots_shown()
        if "fail_on_no_slot=1" in self.query and busy >= total:
            self._send_error(503, "no slot available")
            return
        context = self.engine.settings.context
        self._send_json(
            [
                {"id": number, "n_ctx": context, "speculative": False, "is_processing": number < busy}
                for number in range(total)
            ]
        )

    def props(self) -> None:
        """Answer in the form of llama-server's /props."""
        if self._refused_as_loading():
            return
        engine = self.engine
        self._send_json(
            {
                "default_generation_settings": {"n_ctx": engine.settings.context},
                "total_slots": engine.slots_shown()[0],
                "model_path": engine.settings.model,
                "model_alias": engine.model_name,
                "build_info": engine.values["version"],
            }
        )

    def models(self) -> None:
        """Name the model."""
        if not self._refused_as_loading():
            name = self.engine.model_name
            self._send_json({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "simulated"}]})

    def version(self) -> None:
        """Say the version as vLLM does."""
        self._send_json({"version": self.engine.values["version"]})

    def info(self) -> None:
        """Say the version as TGI does."""
        if not self._refused_as_loading():
            self._send_json({"model_id": self.engine.settings.model, "version": self.engine.values["version"]})

    def triton(self) -> None:
        """Say the version as Triton does."""
        self._send_json({"name": "triton", "version": self.engine.values["version"]})

    def stats(self) -> None:
        """Say what was answered as Triton does: whole inferences, and each response of those that stream."""
        engine = self.engine
        responses = {"0": {"success": {"count": engine.steps}}}
        stats = {"name": engine.model_name, "inference_count": engine.tokens, "response_stats": responses}
        self._send_json({"model_stats": [stats]})

    def metrics(self) -> None:
        """Answer with the counters of each engine kind that the stand-in can play."""
        _, busy = self.engine.slots_shown()
        lines = [
            "# TYPE llamacpp:tokens_predicted_total counter",
            f"llamacpp:tokens_predicted_total {self.engine.tokens}",
            "# TYPE llamacpp:n_decode_total counter",
            f"llamacpp:n_decode_total {self.engine.steps}",
            "# TYPE llamacpp:requests_processing gauge",
            f"llamacpp:requests_processing {busy}",
            "# TYPE llamacpp:requests_deferred gauge",
            f"llamacpp:requests_deferred {self.engine.waiting}",
            "# TYPE vllm:generation_tokens_total counter",
            f'vllm:generation_tokens_total{{model_name="{self.engine.model_name}"}} {self.engine.steps}.0',
            "# TYPE vllm:num_requests_running gauge",
            f'vllm:num_requests_running{{model_name="{self.engine.model_name}"}} {busy}.0',
            "# TYPE vllm:num_requests_waiting gauge",
            f'vllm:num_requests_waiting{{model_name="{self.engine.model_name}"}} {self.engine.waiting}.0',
            "# TYPE tgi_batch_current_size gauge",
            f"tgi_batch_current_size {busy}",
            "# TYPE tgi_queue_size gauge",
            f"tgi_queue_size {self.engine.waiting}",
            "# TYPE tgi_batch_inference_success counter",
            f'tgi_batch_inference_success{{method="decode"}} {self.engine.steps}',
            "# TYPE tgi_request_generated_tokens_sum counter",
            f"tgi_request_generated_tokens_sum {self.engine.tokens}",
        ]
        self._send(200, ("\n".join(lines) + "\n").encode(), "text/plain; version=0.0.4")

    # completions ----------------------------------------------------------------------------------------------

    def _complete(self, body: bytes) -> None:
        if self.method != "POST":
            self._send_error(405, f"{self.method} {self.path} is not served")
            return
        if self._refused_as_loading():
            return
        if self.engine.values["completion_status"]:
            self._send_error(self.engine.values["completion_status"], "told to fail")
            return
        try:
            asked = json.loads(body or b"{}")
            wanted = int(asked.get("max_tokens") or asked.get("n_predict") or self.engine.values["max_tokens"])
        except (ValueError, TypeError, AttributeError) as error:
            self._send_error(400, f"not a request for a completion: {error}")
            return
        if self.engine.values["echo_prompts"]:
            prompt = asked.get("prompt") if "prompt" in asked else asked.get("messages")
            self.engine.log(f"slot launch_slot_: prompt: {json.dumps(prompt, ensure_ascii=False)}")
        with self.engine.slot():
            if asked.get("stream") or self._is_triton:
                self._stream(wanted)
            else:
                if self.engine.values["tokens_per_s"] <= 0:
                    # It may never be answered, and was asked for all the same.
                    self.engine.note_request(self.at, self.method, self.path, None)
                for number in range(wanted):
                    self.engine.next_token(number)
                self._send_json(self._whole(wanted))
            self.engine.count_tokens(wanted)

    def _whole(self, count: int) -> dict[str, Any]:
        text = "".join(_token(number) for number in range(count))
        content = {"message": {"role": "assistant", "content": text}} if self._is_chat else {"text": text}
        return {
            **self._envelope("chat.completion" if self._is_chat else "text_completion"),
            "choices": [{"index": 0, "finish_reason": "length", **content}],
            "usage": _usage(count),
        }

    @property
    def _is_triton(self) -> bool:
        return self.path.startswith("/v2/models/") and self.path.endswith("/generate_stream")

    @property
    def _is_chat(self) -> bool:
        return self.path == "/v1/chat/completions"

    def _envelope(self, kind: str) -> dict[str, Any]:
        made = int(time.time())
        return {"id": f"cmpl-{os.getpid()}-{made}", "object": kind, "created": made, "model": self.engine.model_name}

    def _stream(self, count: int) -> None:
        if self.at:
            self.engine.note_request(self.at, self.method, self.path, 200)
        head = self._head(200, "text/event-stream")
        chunked = self.engine.values["http_version"] != "1.0"
        if chunked:
            head += "Transfer-Encoding: chunked\r\n"
        self.peer.sendall((head + "\r\n").encode())

        def send(text: str) -> None:
            data = f"data: {text}\n\n".encode()
            self.peer.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n" if chunked else data)

        if self._is_triton:
            for number in range(count):
                self.engine.next_token(number)
                send(json.dumps({"model_name": self.path.split("/")[3], "text_output": _token(number)}))
            if chunked:
                self.peer.sendall(b"0\r\n\r\n")
            return
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        for number in range(count):
            self.engine.next_token(number)
            content = {"delta": {"content": _token(number)}} if self._is_chat else {"text": _token(number)}
            choice = {"index": 0, "finish_reason": None, **content}
            send(json.dumps({**self._envelope(kind), "choices": [choice]}))
        nothing: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        last = {"index": 0, "finish_reason": "length", **nothing}
        send(json.dumps({**self._envelope(kind), "choices": [last], "usage": _usage(count)}))
        send("[DONE]")
        if chunked:
            self.peer.sendall(b"0\r\n\r\n")


def _token(number: int) -> str:
    return f"token{number} "


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}


_ROUTES = {
    "/health": _Connection.health,
    "/v1/health": _Connection.health,
    "/slots": _Connection.slots,
    "/props": _Connection.props,
    "/metrics": _Connection.metrics,
    "/models": _Connection.models,
    "/v1/models": _Connection.models,
    "/version": _Connection.version,
    "/info": _Connection.info,
    "/v2": _Connection.triton,
    "/v2/models/stats": _Connection.stats,
    "/v2/health/live": _Connection.live,
    "/v2/health/ready": _Connection.health,
}
