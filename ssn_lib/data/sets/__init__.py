"""The data sets, one a module with its `SOURCE`: `data.registry` finds whatever lies here."""
