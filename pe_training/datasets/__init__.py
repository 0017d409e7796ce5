"""Room 1: read, validate, check and seal a dataset version."""
