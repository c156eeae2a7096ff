"""MQTT 3.1.1: codec, state machines without I/O, and the connections that drive them."""
