"""Which pools use which GPUs, by what their masks mean on this host."""

from __future__ import annotations

from pool_managerd.config import Config
from pool_managerd.devices.mask import MaskUse, check_own, mask_use
from pool_managerd.devices.snapshot import DevicesSnapshot


class MaskUses:
    """What all masks of a config mean; found out anew only when the config or the GPUs are others."""

    def __init__(self) -> None:
        self._config: Config | None = None
        self._present: tuple[tuple[str, int, str], ...] = ()
        self._uses: dict[str, MaskUse] = {}

    def check(self, pool_id: str, config: Config, snapshot: DevicesSnapshot) -> None:
        """Refuse a pool whose GPUs another one uses, too, unless each sets ``share_devices``.

        Two masks that look different, such as an index and a UUID, may mean the same GPU.

        :raises PoolManagerError: INVALID_DEVICE_MASK naming both pools and the shared GPUs.
        """
        self._look(config, snapshot)
        own = self._uses.get(pool_id)
        if own is not None:
            check_own(own, self._uses.values(), snapshot)

    def _look(self, config: Config, snapshot: DevicesSnapshot) -> None:
        present = tuple((device.uuid, device.index, device.health) for device in snapshot.devices)
        if config is self._config and present == self._present:
            return
        self._config, self._present = config, present
        self._uses = {
            pool.id: mask_use(pool.id, pool.masks, snapshot, share=pool.share_devices) for pool in config.pools
        }
