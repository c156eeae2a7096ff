"""Work that no executor does: shell commands, connector actions, the vault."""
