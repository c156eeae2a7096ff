"""Acts: carries out what flow states decide, with executors, processes and the report stream."""
