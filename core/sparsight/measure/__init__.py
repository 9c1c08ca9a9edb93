"""What is measured of a layer, gathered batch by batch."""
