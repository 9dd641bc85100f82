"""The plugin that ships with the core; it comes through the same door as any other."""
