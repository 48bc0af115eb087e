"""What happens in a scenario: crashes, disasters, partitions, newcomers; the same entries in every world."""

from netsim.happenings.base import Happening, Stage
from topology.registry import Registry

__all__ = ["Happening", "Stage", "registry"]

registry: Registry[Happening] = Registry(
    "event",
    "murmuration.events",
    {
        "area-blackout": "netsim.happenings.area_blackout:AreaBlackout",
        "crash": "netsim.happenings.crash:Crash",
        "data-loss": "netsim.happenings.data_loss:DataLoss",
        "heal": "netsim.happenings.heal:Heal",
        "hub-loss": "netsim.happenings.hub_loss:HubLoss",
        "join": "netsim.happenings.join:Join",
        "leave": "netsim.happenings.leave:Leave",
        "link-loss": "netsim.happenings.link_loss:LinkLoss",
        "partition": "netsim.happenings.partition:Partition",
        "slow-down": "netsim.happenings.slow_down:SlowDown",
        "throttle": "netsim.happenings.throttle:Throttle",
    },
)
