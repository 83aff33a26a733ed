"""Servers that misbehave, in the lab and on its addresses alone: what hostile applicants could run."""
