"""The same questions to open-mpic-core's checkers and to ours, in the same namespace."""
