"""A live view of the farm in a terminal: what its metrics, its registry and its controller say."""
