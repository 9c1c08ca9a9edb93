"""A run directory: its event files, who may record into it, writing and reading it."""
