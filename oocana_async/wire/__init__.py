"""What travels: message types, topics, and the encoding of values."""
