"""The machine under it: memory, threads, sizes of blocks, the wish to stop. Knows no analysis."""
