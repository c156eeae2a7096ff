"""MQTT 3.1.1: packets, state machines without I/O, and the connections that drive them."""
