"""What a GPU is used for that is lent for minutes."""
