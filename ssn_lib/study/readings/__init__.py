"""What the committed records show, as sentences that rules make: `What we see` of each notebook."""
