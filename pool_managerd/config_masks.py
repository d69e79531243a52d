"""From what `devices` holds as written to one mask per replica."""

from pool_managerd.config_values import DeviceSetting
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.mask import parse_mask


def masks_of(devices: DeviceSetting, replicas: int) -> tuple[tuple[str, ...], ...]:
    """One mask per replica, in their order; all are empty if no device is named.

    :raises PoolManagerError: INVALID_DEVICE_MASK for a malformed mask, and for masks that are not as many as replicas.
    """
    if not devices or (isinstance(devices, str) and not devices.strip()):
        return ((),) * replicas
    masks: tuple[str | int | tuple[str | int, ...], ...] = devices if isinstance(devices, tuple) else (devices,)
    if replicas == 1 and len(masks) > 1 and not any(_is_mask(item) for item in masks):
        # A plain list of devices is the one replica's mask.
        return (parse_mask(item for item in masks if not isinstance(item, tuple)),)
    if len(masks) != replicas:
        raise PoolManagerError(
            Code.INVALID_DEVICE_MASK,
            f"devices has {len(masks)} {'mask' if len(masks) == 1 else 'masks'} and replicas is {replicas}",
            hint='write one mask per replica, for instance devices = ["0", "1"] for two replicas',
            details={"masks": len(masks), "replicas": replicas},
        )
    parsed = tuple(parse_mask(item) for item in masks)
    for index, mask in enumerate(parsed):
        if not mask:
            raise PoolManagerError(
                Code.INVALID_DEVICE_MASK,
                f"the device mask of replica r{index} is empty",
                hint="name at least one device for each replica",
            )
    return parsed


def _is_mask(item: str | int | tuple[str | int, ...]) -> bool:
    """Whether this names several devices, not one."""
    return isinstance(item, tuple) or (isinstance(item, str) and "," in item)
