"""The appliance: Multi-Perspective Issuance Corroboration through WireGuard tunnels (see ARCHITECTURE.md)."""

__version__ = "0.1.0"
