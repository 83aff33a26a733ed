"""`make bench`: decisions per second, latency, and CPU per decision, beside the floor measured in the same run."""
