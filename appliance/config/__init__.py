"""The only reader of configuration files and of the environment. Read once, at start; unknown keys refuse to start."""

from appliance.config.load import DEFAULT_PATH, load
from appliance.config.schema import (
    AnchorConfig,
    ApiConfig,
    CaaConfig,
    ClockConfig,
    EchoConfig,
    EvidenceConfig,
    PerspectiveConfig,
    PlaceAnchorConfig,
    PlaceConfig,
    PrimaryConfig,
    ResolverConfig,
    RoutingConfig,
    Settings,
    TargetConfig,
    TimeLimits,
    UserConfig,
    WireGuardConfig,
)

__all__ = [
    "DEFAULT_PATH",
    "AnchorConfig",
    "ApiConfig",
    "CaaConfig",
    "ClockConfig",
    "EchoConfig",
    "EvidenceConfig",
    "PerspectiveConfig",
    "PlaceAnchorConfig",
    "PlaceConfig",
    "PrimaryConfig",
    "ResolverConfig",
    "RoutingConfig",
    "Settings",
    "TargetConfig",
    "TimeLimits",
    "UserConfig",
    "WireGuardConfig",
    "load",
]
