"""Where a record came from, what was made from it, and whether all of it is still what it was."""
