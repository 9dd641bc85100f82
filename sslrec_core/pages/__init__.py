"""Pages that sslrec writes: one HTML document each, with all that it needs inside, readable in any browser."""
