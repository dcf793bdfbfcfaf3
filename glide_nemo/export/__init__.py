"""A trained checkpoint in the formats that runtimes read, and the certificate that they compute the same model."""
