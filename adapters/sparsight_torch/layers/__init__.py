"""A network's layers: which are chosen, where their channels are, what they feed."""
