"""Pure rules: the dated BR table, quorum, distance, CAA evaluation, methods. No clock, no I/O."""
