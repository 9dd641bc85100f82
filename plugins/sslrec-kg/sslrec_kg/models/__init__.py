"""The models of sslrec-kg, one per file."""
