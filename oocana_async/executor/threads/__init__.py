"""Threads that blocks run on: event loops for async blocks, workers for plain functions."""
