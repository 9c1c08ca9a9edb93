"""The paper's networks, and what reproduces its tables and figures."""
