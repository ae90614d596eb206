"""A trained detector at work: on a folder of images, and as a file without PyTorch."""
