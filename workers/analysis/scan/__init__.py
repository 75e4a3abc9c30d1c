"""All that is kept of layers while blocks run. Knows no models and no files of a result.

`statistics` is what is kept, `kernels` how a block enters it; the rest is for a shard as a whole.
"""
