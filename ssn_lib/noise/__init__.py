"""Synthetic anomalies: where they lie, and what they are made of. Training only."""
