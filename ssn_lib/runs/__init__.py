"""Runs: trained once, resumable, each with the record that it leaves."""
