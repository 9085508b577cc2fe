"""What every request and answer needs: problems, bodies, headers, OpenAPI, the transport."""
