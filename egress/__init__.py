"""The egress node: WireGuard peer, forwarding, NAT and firewall of one point of hand-off. Shares nothing with `appliance`."""
