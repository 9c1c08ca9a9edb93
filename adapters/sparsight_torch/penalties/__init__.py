"""Penalties on layers, to be added to a training loss."""
