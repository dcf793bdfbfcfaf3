"""Will it fit, and where: memory of a layout, what this machine has, and which recipes run on it."""
