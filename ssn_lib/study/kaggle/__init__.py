"""The study as a Kaggle kernel."""
