"""Which contexts of a scan's lists are shown, and with which tokens. Knows no senses."""
