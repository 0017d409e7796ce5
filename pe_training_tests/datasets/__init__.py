"""Tests of room 1: datasets."""
