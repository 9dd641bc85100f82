"""Social recommendation for sslrec."""
