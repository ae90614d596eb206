"""Training: the step as published, its batches, and the loop around it."""
