"""How messages travel: within the process, to child processes, or over an MQTT broker."""
