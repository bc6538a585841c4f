"""The Python face: workflows of functions, on the same engine that the operator runs."""
