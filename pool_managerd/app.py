"""The composition root: puts the daemon together, runs it, and takes it apart again in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# gRPC's fork handlers serve processes that go on using gRPC after a fork. Engines are executed at once, and the
# handlers would write a line of their own into the daemon's log. Read by gRPC when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# Looking for plugins of pydantic reads the metadata of every installed package, at every start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import uvloop

from pool_managerd import __version__
from pool_managerd.api.addresses import bind_sockets
from pool_managerd.api.auth import Auth
from pool_managerd.api.grpc_server import GrpcServer, start_grpc
from pool_managerd.api.http_facade import HttpServer, start_http
from pool_managerd.config import Config
from pool_managerd.config_load import load_config
from pool_managerd.config_problems import ConfigError
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.devices.inventory import Inventory
from pool_managerd.devices.memory import Reservations
from pool_managerd.devices.nvml import load_nvml
from pool_managerd.observe.bus import EventBus
from pool_managerd.observe.eventlog import event_projection
from pool_managerd.observe.logs import close_logging, configure_logging, get_logger, is_secret_name, learn_secrets
from pool_managerd.observe.metrics import Metrics
from pool_managerd.runtime.files import StateDir
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.learned import LearnedNeeds
from pool_managerd.runtime.log_context import context_of
from pool_managerd.runtime.logs import LogWatcher
from pool_managerd.runtime.measured import Measured
from pool_managerd.runtime.registry import Registry
from pool_managerd.runtime.sockets import PortAllocator
from pool_managerd.runtime.state_watch import StateWatch
from pool_managerd.runtime.store import Append, Store
from pool_managerd.runtime.turns import LoadTurns
from pool_managerd.service import PoolManagerService
from pool_managerd.systemd import Watchdog, notify, notify_ready, notify_reloading

#: Exit codes of ``serve``: done, the daemon said no, wrong usage or config.
DONE, REFUSED, WRONG_CONFIG = 0, 1, 2

#: Seconds until writing ``daemon.json`` is tried again.
DAEMON_FILE_RETRY_S = 0.5

_log = logging.getLogger(__name__)


def serve(path: Path, overrides: Mapping[str, Any]) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; returns the exit code.

    :param overrides: what the command line says, by dotted config key.
    """
    try:
        config = load_config(path, overrides=overrides)
    except ConfigError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return WRONG_CONFIG
    # Where a hung daemon is ended by a watchdog's SIGABRT, standard error shows where each thread was.
    faulthandler.enable()
    configure_logging(format_=config.log.format, level=config.log.level, secrets=_secrets(config))

    def reread() -> Config:
        fresh = load_config(path, overrides=overrides)
        learn_secrets(_secrets(fresh))
        return fresh

    try:
        return uvloop.run(Daemon(config, reread).run())
    except PoolManagerError as error:
        get_logger().error("refused", code=str(error.code), human=error.message, hint=error.hint)
        close_logging()
        hint = f"hint: {error.hint}\n" if error.hint else ""
        sys.stderr.write(f"{error.code}: {error.message}\n{hint}")
        return REFUSED
    except OSError as error:
        close_logging()
        sys.stderr.write(f"pool-managerd cannot serve: {error}\n")
        if error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
            sys.stderr.write(
                "hint: stop what listens there (`ss -ltnp` names it), or choose another address: "
                "--http and --grpc, or http and grpc under [server]\n"
            )
        return REFUSED
    finally:
        close_logging()


def _secrets(config: Config) -> list[str]:
    """What must stand in no line of the log: the tokens, and what the pools' engines are given secretly."""
    tokens = [token for token in (config.tokens.full, config.tokens.readonly) if token]
    return tokens + [value for pool in config.pools for name, value in pool.env.items() if is_secret_name(name)]


class Daemon:
    """One life of the daemon.

    :param reread: reads the config file anew, for SIGHUP and the API.
    """

    def __init__(self, config: Config, reread: Callable[[], Config]) -> None:
        self.config = config
        self.reread = reread
        self.stopping = asyncio.Event()
        self._hurry: Callable[[], None] = lambda: None
        self._daemon_file: asyncio.Task[Any] | None = None

    async def run(self) -> int:
        """Serve until told to stop."""
        self._listen_to_signals()
        state_dir = StateDir(self.config.server.state_dir)
        state_dir.prepare()
        state_dir.lock()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(state_dir.unlock)
            # A busy address is found out before anything else is touched. gRPC takes its own when it is started.
            http_socket = bind_sockets(str(self.config.server.http))
            stack.callback(http_socket.close)
            bind_sockets(str(self.config.server.grpc)).close()
            host, metrics = await self._make_host(stack, state_dir)
            registry = Registry(
                host,
                on_added=lambda pool: metrics.add_pool(pool.id, engine=pool.engine, replica_ids=pool.replica_ids),
                on_removed=metrics.forget_pool,
            )
            host.bus.add_projection(event_projection(lambda event: context_of(registry, event)))
            metrics.state = Measured(host, registry.pools)
            service = PoolManagerService(host, registry, self.reread)
            self._hurry = registry.hurry
            await registry.restore()
            stack.callback(registry.close)
            auth = Auth(self.config.tokens.full, self.config.tokens.readonly)
            grpc = await start_grpc(
                service,
                address=str(self.config.server.grpc),
                auth=auth,
                max_message_bytes=self.config.server.max_request_bytes,
            )
            stack.push_async_callback(grpc.stop)
            http = await start_http(
                service,
                address=str(self.config.server.http),
                auth=auth,
                metrics=metrics.scrape,
                max_request_bytes=self.config.server.max_request_bytes,
                sock=http_socket,
            )
            stack.push_async_callback(http.stop)
            stack.callback(host.bus.close)
            where = self._announce(host, http, grpc)
            registry.begin()
            self._listen_to_sighup(host, service, where)
            host.start_task(StateWatch(host, lambda: self._write_anew(registry, where)).run(), "state directory")
            notify_ready(_serving(where))
            watchdog = Watchdog()
            stack.callback(watchdog.close)
            await self.stopping.wait()
            await self._end(host, registry)
        return DONE

    async def _make_host(self, stack: contextlib.AsyncExitStack, state_dir: StateDir) -> tuple[Host, Metrics]:
        config = self.config
        settings = config.devices
        simulated_dir = settings.simulated_dir if settings.source == "simulated" else None
        inventory = Inventory(load_nvml(settings.source, simulated_dir), source=settings.source)
        snapshot = await inventory.start()
        stack.push_async_callback(inventory.close)
        if settings.require_process_residency and snapshot.residency != "process":
            raise PoolManagerError(
                Code.GPU_UNAVAILABLE,
                "require_process_residency is set, and NVML's process ids can't be matched to this host's",
                hint="run the daemon in the host's pid namespace (--pid=host), or unset require_process_residency",
                details={"residency": snapshot.residency},
            )
        store = await Store.open(state_dir.database, event_retention=config.server.event_retention)
        stack.push_async_callback(store.close)
        bus = EventBus(
            time.time,
            store.first_revision,
            lambda event: store.post([Append(event.as_json())]),
            retention=config.server.event_retention,
        )
        metrics = Metrics(bus=bus, version=__version__)
        for device in snapshot.devices:
            metrics.add_device(device.uuid)
        bus.add_projection(metrics.on_event)
        store.on_availability = lambda available: _announce_store(bus, store, available=available)
        log_watcher = LogWatcher(max_bytes=config.log.engine_log_max_bytes, keep=config.log.engine_log_keep)
        stack.push_async_callback(log_watcher.close)
        host = Host(
            config=config,
            state_id=state_dir.state_id(),
            clock=time.time,
            bus=bus,
            store=store,
            state_dir=state_dir,
            inventory=inventory,
            reservations=Reservations(),
            ports=PortAllocator(config.server.port_range),
            logs=log_watcher,
            turns=LoadTurns(config.server.max_parallel_loads),
            learned=LearnedNeeds(store, time.time),
        )
        stack.callback(host.cancel_tasks)
        return host, metrics

    def _write_anew(self, registry: Registry, where: Mapping[str, Any]) -> None:
        """The state directory was removed or emptied, and is there again."""
        registry.write_anew()
        self._write_daemon(registry.host, where)

    def _write_daemon(self, host: Host, where: Mapping[str, Any]) -> None:
        """Write ``daemon.json``, now or as soon as that can be done."""
        try:
            host.state_dir.write_daemon(where)
        except PoolManagerError as error:
            if self._daemon_file is None or self._daemon_file.done():
                self._daemon_file = host.start_task(_write_daemon_later(host, where, error), "daemon.json")

    def _announce(self, host: Host, http: HttpServer, grpc: GrpcServer) -> dict[str, Any]:
        """Say where the daemon serves: in the log, and in ``daemon.json`` for tools that started it on port 0.

        :returns: what stands in ``daemon.json``.
        """
        where: dict[str, Any] = {
            "pid": os.getpid(),
            "http": f"{_bracketed(self.config.server.http.host)}:{http.port}",
            "grpc": f"{_bracketed(self.config.server.grpc.host)}:{grpc.port}",
            "version": __version__,
        }
        self._write_daemon(host, where)
        source = host.inventory.source
        simulated = " on SIMULATED devices: no real GPU is used" if source == "simulated" else ""
        host.bus.publish(
            EventKind.DAEMON,
            to="started",
            reason=f"pool-managerd {__version__} serves HTTP on {where['http']}, gRPC on {where['grpc']}{simulated}",
            details={**where, "state_dir": str(host.state_dir.path), "device_source": source},
        )
        if host.store.set_aside is not None:
            host.bus.publish(
                EventKind.DAEMON,
                to="warning",
                code=str(Code.STORE_UNAVAILABLE),
                reason=f"the state database was damaged or not ours: set aside as {host.store.set_aside}",
                details={"path": str(host.store.set_aside)},
            )
        if os.geteuid() == 0 and any(pool.user is None for pool in self.config.pools):
            host.bus.publish(
                EventKind.DAEMON,
                to="warning",
                reason="the daemon runs as root and pools without `user` run their engines as root: "
                "they get no capabilities and no new privileges, but name a user for each pool",
            )
        return where

    def _listen_to_signals(self) -> None:
        """From the very start, so that no engine is orphaned by a stop in the midst of it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)

    def _on_stop_signal(self) -> None:
        """The first ends the daemon in its time; a second one does not let it wait for leases any longer."""
        if self.stopping.is_set():
            self._hurry()
        self.stopping.set()

    def _listen_to_sighup(self, host: Host, service: PoolManagerService, where: Mapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        reload = "config reload by SIGHUP"
        loop.add_signal_handler(signal.SIGHUP, lambda: host.start_task(_reload(service, where), reload))

    async def _end(self, host: Host, registry: Registry) -> None:
        """Refuse new work, then stop the engines, or leave them to the next daemon."""
        host.shutting_down = True
        notify("STOPPING=1")
        server = host.config.server
        host.bus.publish(EventKind.DAEMON, to="stopping", reason=f'told to stop; on_shutdown = "{server.on_shutdown}"')
        if server.on_shutdown == "stop":
            await registry.stop_all(host.clock() + server.shutdown_drain_ms / 1000)
        host.bus.publish(EventKind.DAEMON, to="stopped", reason="the daemon ends")
        with contextlib.suppress(PoolManagerError):
            host.state_dir.remove_daemon()


async def _write_daemon_later(host: Host, where: Mapping[str, Any], error: PoolManagerError) -> None:
    """Write ``daemon.json`` once that can be done: on a full disk the engines are supervised all the same."""
    host.bus.publish(
        EventKind.DAEMON,
        to="warning",
        code=str(error.code),
        reason=f"{error.message}; it is tried again by itself",
        details={"hint": error.hint},
    )
    while not host.shutting_down:
        await asyncio.sleep(DAEMON_FILE_RETRY_S)
        with contextlib.suppress(PoolManagerError):
            host.state_dir.write_daemon(where)
            return


async def _reload(service: PoolManagerService, where: Mapping[str, Any]) -> None:
    """SIGHUP: a faulty file is reported by its event, and nothing is changed."""
    notify_reloading()
    status = _serving(where)
    try:
        await service.reload_config()
    except PoolManagerError as error:
        status += f"; the new config was refused, the old one is in force: {error.message}"
    finally:
        notify_ready(status)


def _serving(where: Mapping[str, Any]) -> str:
    return f"serves HTTP on {where['http']}, gRPC on {where['grpc']}"


def _announce_store(bus: EventBus, store: Store, *, available: bool) -> None:
    path = str(store.path)
    hint = (
        "engines go on and nothing promised is forgotten; leases, drains and reloads are refused meanwhile. "
        "Make room, or make the folder again: what is missing is then written by itself"
    )
    bus.publish(
        EventKind.DAEMON,
        to="store_available" if available else "store_unavailable",
        code=None if available else str(Code.STORE_UNAVAILABLE),
        reason=f"the state store {path} takes writes again"
        if available
        else f"the state store {path} takes no writes: {store.unavailable_because}",
        details={"path": path} if available else {"path": path, "hint": hint},
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
