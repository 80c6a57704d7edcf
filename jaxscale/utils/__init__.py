"""Errors, files, random numbers, text, progress, notices, checkpoints and compilation."""
