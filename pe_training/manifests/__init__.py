"""Room 2: what to run. Schema, resolution to pinned digests, plan."""
