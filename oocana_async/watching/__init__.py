"""The state of a run, made of its report events alone; terminal, page and report are views of it."""
