"""The trackers in NumPy, step by step as in the papers: what the compiled core is held against."""
