"""Money: dated rates, what was spent, what is left."""
