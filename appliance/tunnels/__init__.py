"""Namespaces and WireGuard tunnels, made and kept by reconciling what is with what should be."""
