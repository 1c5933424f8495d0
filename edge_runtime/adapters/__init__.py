"""Our trackers behind the conventions of others: OpenCV's, the GOT-10k toolkit's, and TraX (VOT)."""
