"""Pages of laws and citations."""
