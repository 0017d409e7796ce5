"""Room 4: what the model really answered, and what those answers are evidence for."""
