"""What names a person or opens a door, and how it is taken out of text: one kind of data or two a file."""
