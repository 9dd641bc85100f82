"""The models of sslrec-social, one per file."""
