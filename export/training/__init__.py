"""Training of students: losses, settings, the run itself and its validation."""
