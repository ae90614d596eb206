"""The networks: a frozen backbone, and what is trained on its features."""
