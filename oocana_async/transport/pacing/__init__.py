"""How much may be under way to an engine that does not say when it is full."""
