"""Adapting the network to the target, on the device: NumPy only, no torch (method, section 3)."""
