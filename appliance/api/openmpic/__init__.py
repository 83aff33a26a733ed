"""The Open MPIC API, specification 3.5.0: its request and response forms. All that knows its names is in here."""
