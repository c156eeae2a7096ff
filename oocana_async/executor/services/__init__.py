"""Services: blocks that share one long-lived process, which an executor starts and feeds (protocol.md 6).

On the executor's side, `manager` has a `link` per service, which starts or finds the process and hands it jobs;
`assignments` knows which job is where. In the process, `process` is the program, `service` takes the jobs, `jobs` runs
them per session, `main_function` runs what the service's author wrote, with a `context` to register handlers in, and
`lifetime` says when it is time to leave. `wire` is what both sides say to each other.
"""
