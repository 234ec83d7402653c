"""What an expression says: templates now, its parts later."""
