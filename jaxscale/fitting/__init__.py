"""Fits of one or many data sets, their standard errors and convergence diagnostics."""
