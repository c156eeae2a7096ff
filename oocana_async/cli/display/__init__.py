"""What people see of a run: events become a state, the state becomes lines or a live display."""
