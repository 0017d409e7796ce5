"""Tests, one folder a room of pe_training."""
