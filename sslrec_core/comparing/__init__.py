"""Comparing: runs side by side, and whether their differences could be chance."""
