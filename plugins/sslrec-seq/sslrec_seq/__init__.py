"""Sequential recommendation for sslrec."""
