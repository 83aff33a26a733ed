"""Thin typed wrappers over netlink, WireGuard, namespaces, users and systemd."""
