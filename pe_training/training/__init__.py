"""Room 3: the run and its checkpoints. The only room that trains; it runs as a process of its own."""
