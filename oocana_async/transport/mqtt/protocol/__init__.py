"""MQTT 3.1.1 without I/O: packets, their encoding, and the state machines of publisher and subscriber."""
