"""Training of every network that samlib ships, from scenes or from a folder of images."""
