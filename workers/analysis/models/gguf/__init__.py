"""A GGUF file into a folder that transformers reads: every key and tensor of it is used, known to
do no harm, or named in a refusal. Knows nothing of analyses."""
