"""The core's restart policy, as a pool's config has it."""

from __future__ import annotations

from pool_managerd.config import PoolConfig
from pool_managerd.core.restart_values import RestartPolicy


def policy_of(config: PoolConfig) -> RestartPolicy:
    """The core's policy value for a pool's config."""
    general = config.restart
    breaker = config.breaker
    return RestartPolicy(
        initial_ms=general.initial_ms,
        factor=general.factor,
        max_ms=general.max_ms,
        floor_ms=general.floor_ms,
        jitter=general.jitter,
        driver_factor=general.driver_factor,
        stable_ms=general.stable_ms,
        rate=general.rate,
        rate_window_ms=general.rate_window_ms,
        storm_warn=general.storm_warn,
        storm_open=general.storm_open,
        storm_open_window_ms=general.storm_open_window_ms,
        on_exit_zero=general.on_exit_zero,
        breaker_failures=breaker.failures,
        breaker_driver_failures=breaker.driver_failures,
        breaker_open_ms=breaker.open_ms,
        breaker_max_open_ms=breaker.max_open_ms,
        breaker_stable_ms=breaker.stable_ms,
    )
