"""An engine on a real GPU, for the suites tagged ``gpu``: holds memory there, and can do what a faulty kernel does.

``python -m PoolManagerLibrary.cuda_engine --hold BYTES [--host H --port P]``. It takes BYTES of each whole GPU that it
can see, through the driver's own library (libcuda.so.1), prints ``holding`` and stays until it is ended. With a port it
serves ``/health`` (200), ``/gpus`` (the UUIDs of the GPUs that it can see) and ``POST /fault``: a kernel that writes to
an address that is nobody's, as a bug in an engine's kernel does. The driver ends the context with an XID; the process
lives on.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import threading
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn

#: Writes to address 16, which no allocation has. PTX, which the driver compiles for any GPU since Volta.
_FAULT = b"""\
.version 6.4
.target sm_70
.address_size 64
.visible .entry fault()
{
    .reg .b32 %value;
    .reg .b64 %address;
    mov.u32 %value, 1;
    mov.u64 %address, 16;
    st.global.u32 [%address], %value;
    ret;
}
\0"""


class CudaError(Exception):
    """A call of CUDA's driver library failed; its text names the call and CUDA's own name of the error."""


class Cuda:
    """CUDA's driver library, with memory of each GPU that this process can see.

    :raises CudaError: if there is no such library, no GPU, or too little memory.
    """

    def __init__(self, hold: int) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError(f"CUDA's driver library cannot be loaded: {error}") from error
        self._call("cuInit", 0)
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        self.gpus: list[str] = []
        self._contexts: list[ctypes.c_void_p] = []
        for number in range(count.value):
            self._take(number, hold)

    def _take(self, number: int, hold: int) -> None:
        device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
        name = (ctypes.c_ubyte * 16)()
        self._call("cuDeviceGet", ctypes.byref(device), number)
        self._call("cuDeviceGetUuid_v2", ctypes.byref(name), device)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        if hold:
            self._call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(hold))
        self.gpus.append(f"GPU-{uuid.UUID(bytes=bytes(name))}")
        self._contexts.append(context)

    def fault(self) -> str:
        """Run the faulty kernel on the first GPU; returns what CUDA says of it."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuCtxSetCurrent", self._contexts[0])
        self._call("cuModuleLoadData", ctypes.byref(module), _FAULT)
        self._call("cuModuleGetFunction", ctypes.byref(function), module, b"fault")
        self._call("cuLaunchKernel", function, *[1] * 6, 0, None, None, None)
        try:
            self._call("cuCtxSynchronize")
        except CudaError as error:
            return str(error)
        return "the kernel ended as if nothing were wrong"

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            raise CudaError(f"{name}: {text.value.decode() if text.value else f'error {code}'}")


class _Pages(BaseHTTPRequestHandler):
    cuda: Cuda

    def do_GET(self) -> None:
        if self.path in {"/health", "/gpus"}:
            self._answer(200, self.cuda.gpus if self.path == "/gpus" else {"status": "ok"})
        else:
            self._answer(404, {"error": "no such page"})

    def do_POST(self) -> None:
        if self.path != "/fault":
            self._answer(404, {"error": "no such page"})
            return
        try:
            self._answer(200, {"cuda": self.cuda.fault()})
        except CudaError as error:
            self._answer(500, {"error": str(error)})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' own name
        """Nothing: the daemon's probes would fill the log."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Hold the memory until the process is ended. Exit code 1, with CUDA's own words, where that cannot be done."""
    parser = argparse.ArgumentParser(prog="cuda_engine", description="Holds memory of real GPUs until it is ended.")
    parser.add_argument("--hold", type=int, required=True, help="bytes of each visible GPU")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="serve HTTP there")
    options = parser.parse_args(argv)
    try:
        cuda = Cuda(options.hold)
    except CudaError as error:
        sys.exit(f"cuda_engine: {error}")
    sys.stdout.write("holding\n")
    sys.stdout.flush()
    if options.port is None:
        threading.Event().wait()
    else:
        pages = type("Pages", (_Pages,), {"cuda": cuda})
        ThreadingHTTPServer((options.host, options.port), pages).serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
