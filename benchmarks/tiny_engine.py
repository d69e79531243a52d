"""The least that an engine can be, so that two hundred of them cost nothing: holds memory of a simulated GPU, is well.

Run as ``python -I -S tiny_engine.py FOLDER_MODULE PORT BYTES``. Each health check gets the same answer.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def main() -> None:
    """Serve until SIGTERM."""
    module, port, size = sys.argv[1:4]
    spec = importlib.util.spec_from_file_location("simulated_folder", module)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a path of a Python file
    folder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(folder)
    gpus = folder.SimulatedFolder(os.environ["POOL_MANAGERD_SIMULATED_DIR"])
    gpus.allocate(os.getpid(), {os.environ["CUDA_VISIBLE_DEVICES"]: int(size)})
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(ANSWER)


if __name__ == "__main__":
    main()
