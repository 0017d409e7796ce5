"""Tests of pe_training.promotion."""
