"""Measuring a network while it trains, and recording it."""
