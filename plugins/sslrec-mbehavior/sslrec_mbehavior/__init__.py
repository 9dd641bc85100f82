"""Multi-behaviour recommendation for sslrec."""
