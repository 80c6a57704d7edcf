"""Identifiability of a law by a design: Fisher information and runs to add."""
