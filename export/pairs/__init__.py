"""Videos and photos into pairs of crops: a target, and the same target displaced (method, section 2)."""
