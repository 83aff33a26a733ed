"""The HTTP face of the coordinator: what the CA and the operator call, over Unix sockets."""
