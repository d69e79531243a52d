"""From a plan to a running engine: its environment, its folder, its process, its pid file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from pool_managerd.config import PoolConfig
from pool_managerd.core.events import EventKind
from pool_managerd.runtime.engine_sockets import socket_environment
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.preflight import Plan
from pool_managerd.runtime.process import SpawnSpec, spawn
from pool_managerd.runtime.run import PLAN_VARIABLE, Run

#: What of the daemon's own environment an engine gets: the plain base of a process, and nothing of CUDA's.
BASE_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


#: What only the daemon says; a pool's ``env`` cannot widen or change it.
_DAEMONS_OWN = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")


def overruled(env: Mapping[str, str]) -> list[str]:
    """The variables of a pool's ``env`` that its engine does not get, because the daemon sets them."""
    return sorted(name for name in env if name in _DAEMONS_OWN or name.startswith("POOL_MANAGERD_"))


def engine_environment(host: Host, config: PoolConfig, plan: Plan) -> dict[str, str]:
    """The whole environment of an engine. The device mask is set last, so that nothing can widen it.

    :raises PoolManagerError: INVALID_REQUEST where there is no place for its unix sockets.
    """
    spec = plan.spec
    env = {name: os.environ[name] for name in BASE_VARIABLES if name in os.environ}
    env.update(plan.engine.environment(spec))
    env.update(socket_environment(host, config, spec.replica_id, plan.engine))
    not_passed = overruled(config.env)
    env.update({name: value for name, value in config.env.items() if name not in not_passed})
    env.update(
        {
            "CUDA_VISIBLE_DEVICES": ",".join(spec.devices),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "POOL_MANAGERD_POOL": spec.pool_id,
            "POOL_MANAGERD_REPLICA": spec.replica_id,
            "POOL_MANAGERD_MARKER": host.marker(spec.pool_id, spec.replica_id),
            PLAN_VARIABLE: plan.digest,
        }
    )
    if spec.simulated_dir is not None:
        env["POOL_MANAGERD_SIMULATED_DIR"] = str(spec.simulated_dir)
    return env


async def spawn_engine(host: Host, config: PoolConfig, plan: Plan) -> Run:
    """Start the engine. Its pid file is the caller's to write.

    :raises PoolManagerError: ENGINE_NOT_FOUND, SPAWN_FAILED, or STORE_UNAVAILABLE for the engine's own folder.
    """
    spec = plan.spec
    if names := overruled(config.env):
        host.bus.publish(
            EventKind.DAEMON,
            pool_id=spec.pool_id,
            replica_id=spec.replica_id,
            to="warning",
            reason=f"{', '.join(names)} of the pool's env is not passed on: its GPUs are set by its key 'devices'",
            details={"variables": names},
        )
    process = await spawn(
        SpawnSpec(
            argv=plan.engine.command_line(spec),
            env=engine_environment(host, config, plan),
            cwd=host.state_dir.work_dir(spec.pool_id, spec.replica_id, user=config.user),
            log_path=host.state_dir.log_file(spec.pool_id, spec.replica_id),
            user=config.user,
        )
    )
    return Run(
        engine=plan.engine,
        spec=spec,
        digest=plan.digest,
        need=plan.need,
        before=plan.before,
        process=process,
        spawned_at=host.clock(),
        spawned_clock=asyncio.get_running_loop().time(),
        log_offset=process.log_offset or 0,
        fixed_port=config.port != 0,
    )
