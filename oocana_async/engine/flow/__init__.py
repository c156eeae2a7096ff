"""Decides what a flow does next: pure state machines without I/O and without a clock."""
