"""The ledger: what the slides claim, and what the records say of it, by stated rules."""
