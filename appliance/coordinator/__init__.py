"""Fan-out to all perspectives, quorum, evidence, answer. Never touches the Internet."""
