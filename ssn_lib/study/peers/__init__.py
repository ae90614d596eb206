"""What a user would pick instead, fitted to the same images and measured by the same metrics."""
