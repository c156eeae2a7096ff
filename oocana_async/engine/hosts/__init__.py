"""Where the executors of an embedded run live: in this process, or in processes of their own."""
