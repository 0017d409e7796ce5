"""Tests of pe_training.costs."""
