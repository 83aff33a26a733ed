"""Who calls: the register of API keys and client certificates, each caller's limits, and the gate that asks both."""
