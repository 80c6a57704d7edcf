"""Posterior sampling: Laplace approximation, importance sampling, NUTS."""
