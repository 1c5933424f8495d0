"""Bundles onto a device, over the user's own ssh: checked, tried, and kept or taken back."""
