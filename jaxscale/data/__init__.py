"""Tables, observations, features of series, data sets and simulated sweeps."""
