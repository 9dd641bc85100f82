"""Presets of the baselines: ``<model>/<dataset>.toml``, tuned on the validation part, with the evidence in comments."""
