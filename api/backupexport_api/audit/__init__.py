"""The audit trail: who did what, in lines of its own."""
