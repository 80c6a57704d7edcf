"""Profile likelihoods and contours."""
