"""The study of SuperSimpleNet: what is run, what it is held against, and how it is shown."""
