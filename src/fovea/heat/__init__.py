"""Maps of where a model looks when it reads an expression, and the mask that such a map chooses."""
