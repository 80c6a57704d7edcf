"""Results and their text reports: fits, draws, intervals."""
