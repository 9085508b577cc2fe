"""What a task asks of the place where finished files are, and what all such places share."""
