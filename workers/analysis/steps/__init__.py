"""What the units of a job do, a module a step. Knows stores and models, not who runs it or when."""
