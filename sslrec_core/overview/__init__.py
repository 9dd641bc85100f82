"""Overview: many runs at a glance, while they train and afterwards, on a terminal and as a page."""
