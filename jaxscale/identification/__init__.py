"""Identifiability of a law by a design: Fisher information and augmentation of the design."""
