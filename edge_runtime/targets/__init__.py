"""Targets of a run: how they are started, found again, and given up."""
