"""The local one-node cluster that newcomers, the demo and the tests use."""
