"""Tests of pe_training.lineage."""
