"""Objective, starts, descents and the differentiable solver."""
