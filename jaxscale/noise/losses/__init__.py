"""Losses, one file each: a class and the function that makes a noise of it, found here by name."""
