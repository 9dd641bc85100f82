"""From files of any common form to prepared arrays: readers, ids, splits, the cache and downloads."""
