"""`cfvgg-edge doctor`: what is right and wrong with this machine, each finding with its fix."""
