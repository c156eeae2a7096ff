"""Child processes and the messages to and from them, over a socket pair."""
