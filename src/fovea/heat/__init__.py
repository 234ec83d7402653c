"""Heat maps: where in a picture a matching model finds an expression, and the mask that such a map chooses."""
