"""Reports: what runs recorded, and what their models do, as one page."""
