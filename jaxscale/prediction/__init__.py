"""Forecasts, cross-validation, comparison of laws and stacking."""
