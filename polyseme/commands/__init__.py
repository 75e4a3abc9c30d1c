"""The `polyseme` command, a module for each of its commands. Knows services by their answers."""
