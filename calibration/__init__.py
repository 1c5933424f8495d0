"""Calibration pictures, quantisation ranges and the accuracy report of a quantised network."""
