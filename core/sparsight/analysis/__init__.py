"""From checkpoints and probes to measurements, runs and tables."""
