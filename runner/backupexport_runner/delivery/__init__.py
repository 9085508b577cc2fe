"""The tasks `deliver-…`: bring an export that has ended to its owner."""
