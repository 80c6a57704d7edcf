"""Priors, statistical models and exchange with ArviZ."""
