"""Programs that run an executor or a service: command lines, life, log files, exit codes."""
