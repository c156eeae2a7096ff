"""Turning YAML nodes into manifests: what each key may hold, and what to say when it does not."""
