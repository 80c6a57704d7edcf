"""Losses, one file each: a class and the constructor of its noise, which are found by name."""
