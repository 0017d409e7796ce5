"""Bring what somebody has (another shape, an export, a bucket) into a release folder: the one shape that is judged and sealed."""
