"""The service as systemd knows it: installing it, removing it, and how it is doing."""
