"""What the api, the operator and the runner agree on.

The other packages import this one; it imports none of them.  `names`, `rules`, `reasons`,
`runner_protocol` and `timestamps` need only the standard library, so that the runner starts
fast; the models and the CRD modules need pydantic.
"""
