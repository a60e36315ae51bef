"""Distilled sets on disk: written, read, exported."""
