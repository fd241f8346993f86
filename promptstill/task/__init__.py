"""The user's side: the recipe, its rows and splits, and its metric."""
