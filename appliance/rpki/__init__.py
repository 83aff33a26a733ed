"""What the RPKI says of routes (RFC 6811), from a VRP export, and the beacons that show whether a network listens to it."""
