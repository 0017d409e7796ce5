"""Vocabulary that every room shares: ids, records, errors and config files. Imports nothing of ours."""
