"""The models that stages score documents by: trained here, by commands, on corpora and samples."""
