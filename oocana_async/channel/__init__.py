"""How messages wait their turn: the channel, the sender that drains it, the event bus, and the throttle."""
