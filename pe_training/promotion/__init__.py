"""Room 5: policies, verdicts, stages, rollback."""
