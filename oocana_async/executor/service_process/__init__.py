"""What runs in the process of a service, whose program is `process/service_program`.

`service` takes the jobs and `service_jobs` runs them per session, as an executor of its own. `main_function` runs what
the service's author wrote, which registers `handlers` by `registration` (protocol.md 6.4); `front_end` passes on what
people send to them.
"""
