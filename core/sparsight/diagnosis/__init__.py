"""Whether a run overfits, since when, of what kind, and in which layers."""
