"""Running scriptlets for an engine, over any transport."""
