"""ONNX graphs: which layers they have, what these compute, and a copy that measures them."""
