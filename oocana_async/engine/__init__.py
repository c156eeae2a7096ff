"""Running a flow in this process: manifests, lookup, graph, scheduler, over the same executor as on the real engine."""
