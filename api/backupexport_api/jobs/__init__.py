"""Exports as REST knows them: request, cached job, list, routes, and what a store must offer."""
