"""Services as an executor sees them: blocks that share one long-lived process, which it starts and feeds.

`manager` has a `remote` per service, which finds the process or starts it (`launching`) and hands it jobs (protocol.md
6); `assignments` knows which job is where. `service_messages` is what both sides say to each other. What runs in the
process is next door, in `service_process`.
"""
