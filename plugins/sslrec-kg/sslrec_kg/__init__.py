"""Knowledge-graph recommendation for sslrec."""
