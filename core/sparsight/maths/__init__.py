"""Entropy, correlation, onset and movement as equations in numpy: the slow, obvious reference."""
