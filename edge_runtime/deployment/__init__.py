"""Bundles on the device: kept side by side, put to use on trial, and taken back by themselves."""
