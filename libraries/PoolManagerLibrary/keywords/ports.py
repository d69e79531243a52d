"""TCP ports: taken by other programs, answered on by them, and free."""

from __future__ import annotations

import socket
import subprocess
import sys

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords


class PortKeywords(Keywords):
    """Keywords about ports."""

    @keyword
    def occupy_port(self, port: int = 0, engine: str | None = None) -> int:
        """Lets another program listen on a port (0: a free one) until `Free Port`; returns the port. It never answers.

        Example:
        | ${port} = | Occupy Port |
        | Define Pool | chat | port=${port} |
        """
        del engine
        code = (
            "import socket,sys\n"
            "s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(8)\n"
            "print(s.getsockname()[1], flush=True)\n"
            "sys.stdin.read()\n"
        )
        return self._listener(code, port)

    @keyword
    def serve_200_on_port(self, port: int = 0) -> int:
        """Lets another program answer 200 to everything on a port (0: a free one) until `Free Port`; returns the port.

        Example:
        | ${port} = | Serve 200 On Port |
        """
        code = (
            "import http.server,sys,threading\n"
            "class H(http.server.BaseHTTPRequestHandler):\n"
            "    def do_GET(self):\n"
            "        self.send_response(200); self.send_header('Content-Length','2'); self.end_headers()\n"
            "        self.wfile.write(b'{}')\n"
            "    def log_message(self,*a): pass\n"
            "s=http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)\n"
            "print(s.server_address[1], flush=True)\n"
            "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
            "sys.stdin.read()\n"
        )
        return self._listener(code, port)

    def _listener(self, code: str, port: int) -> int:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, str(port), str(self.world.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None  # noqa: S101  # asked for above
        line = process.stdout.readline()
        if not line:
            raise UsageError(f"Port {port} cannot be occupied.")
        taken = int(line)
        self.scenario.memory.setdefault("listeners", {})[taken] = process
        self.scenario.cleanups.append((f"the listener on port {taken}", lambda: _end(process)))
        return taken

    @keyword
    def free_port(self, port: int) -> None:
        """Ends what `Occupy Port` or `Serve 200 On Port` started.

        Example:
        | Free Port | ${port} |
        """
        self.scenario.act(f"port {port} is free")
        _end(self.scenario.memory.get("listeners", {}).pop(port))

    @keyword
    def get_listener_pid(self, port: int) -> int:
        """Returns the pid of the program that `Occupy Port` or `Serve 200 On Port` started on a port.

        Example:
        | ${pid} = | Get Listener Pid | ${port} |
        """
        return int(self.scenario.memory["listeners"][port].pid)

    @keyword
    def find_free_port(self) -> int:
        """Returns a TCP port of 127.0.0.1 that nobody listens on now, outside the ports for engines.

        Example:
        | ${port} = | Find Free Port |
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
