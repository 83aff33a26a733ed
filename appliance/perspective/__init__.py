"""One network perspective: its worker, its resolver, its own confinement and health."""
