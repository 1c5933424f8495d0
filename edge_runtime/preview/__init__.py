"""Live pictures of the tracker for people, over a unix socket and, from elsewhere, through ssh."""
