"""Exports as REST knows them: request, cached job, list, routes, and their store."""
