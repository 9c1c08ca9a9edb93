"""The fixed samples that every checkpoint is measured on, matched to a model's inputs."""
