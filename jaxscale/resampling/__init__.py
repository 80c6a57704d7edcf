"""Bootstrap and jackknife."""
