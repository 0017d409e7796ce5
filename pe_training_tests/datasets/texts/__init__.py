"""Tests of what the words of dialogues say."""
