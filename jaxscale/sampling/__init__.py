"""Posterior draws: Laplace approximation, importance sampling, NUTS."""
