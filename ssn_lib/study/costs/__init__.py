"""What inference, training and metrics cost."""
