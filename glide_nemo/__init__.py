"""GLiDE: raw web pages to a trained, evaluated and exported language model, by one recipe on laptop and cluster."""

__version__ = "0.1.0"
