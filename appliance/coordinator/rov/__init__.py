"""Measures, from every perspective and one at a time, whether its path drops RPKI-invalid routes, and keeps the verdicts."""
