"""What people read, made from records: terminal tables, Markdown for Dagster, the evidence page."""
