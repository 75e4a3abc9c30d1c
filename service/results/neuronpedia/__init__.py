"""A result as Neuronpedia imports it: a zip with a folder a layer, of features and activations in
gzipped JSON lines. Knows nothing of HTTP.

Sources: `SAEDashboard` (neuronpedia_converter.py), and Neuronpedia's own converter, database models
and importer. What a result does not hold in their form is derived here, and docs/neuronpedia.md
says how.
"""
