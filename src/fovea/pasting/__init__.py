"""Pictures to learn places from: cut-outs pasted on backgrounds, on a grid, so that every place is known."""
