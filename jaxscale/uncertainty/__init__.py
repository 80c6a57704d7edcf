"""How sure a fit is: standard errors from curvature, from scores, or from resampling."""
