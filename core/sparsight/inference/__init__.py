"""Running instrumented models in ONNX Runtime, in batches that fit into memory."""
