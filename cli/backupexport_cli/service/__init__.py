"""Where exports are asked for: the api over REST."""
