"""Services: blocks that share one long-lived process, which an executor starts and feeds (protocol.md 6).

On the executor's side, `manager` has a `remote` per service, which finds the process or starts it (`launching`) and
hands it jobs; `assignments` knows which job is where. In the process, whose program is `process/service_program`,
`service` takes the jobs and `service_jobs` runs them per session; `main_function` runs what the service's author wrote,
which registers `handlers` by `registration`; `front_end` passes messages of people on, and `lifetime` says when it is
time to leave. `service_messages` is what both sides say to each other.
"""
