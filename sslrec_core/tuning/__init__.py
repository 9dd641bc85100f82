"""Tuning: choosing options by what they give on the validation part."""
