"""Where a run executes. One entry point on every target; progress and errors come back the same way."""
