"""Plots of fits, laws, profiles and draws."""
