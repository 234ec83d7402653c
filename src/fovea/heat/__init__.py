"""Heat maps: where in a picture a text was found, read off a matching model's attention and gradients."""
