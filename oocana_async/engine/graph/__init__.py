"""What a loaded target is: graphs, nodes and connections, and how they are built from manifests."""
