"""Tests of what brings other shapes into releases."""
