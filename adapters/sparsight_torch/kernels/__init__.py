"""What computes the entropy and its gradient: Triton kernels, a compiler, or plain torch."""
