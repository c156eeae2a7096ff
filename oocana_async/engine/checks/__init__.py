"""Analyses of a loaded target, each a function from graphs to findings."""
