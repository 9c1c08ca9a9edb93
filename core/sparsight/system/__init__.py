"""What the machine offers: devices, memory, file locks, whole files, child processes."""
