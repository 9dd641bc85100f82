"""Collaborative filtering for sslrec."""
