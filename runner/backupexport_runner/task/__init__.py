"""What every task has: its request, its log, its interruption, its failure."""
