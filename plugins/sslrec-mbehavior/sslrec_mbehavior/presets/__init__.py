"""Presets: ``<model>/<dataset>.toml``, each value with its source in a comment."""
