"""What a run found, for use without sslrec: vectors, an index of them, a scorer as a program, ranked lists."""
