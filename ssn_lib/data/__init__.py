"""Finding and reading data sets: MVTec AD, KolektorSDD2, a folder of one's own, rendered ones."""
