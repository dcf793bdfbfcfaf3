"""Text documents out of files of each kind: what cannot become a document leaves with a reason, nothing raises."""
