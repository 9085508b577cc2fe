"""One package for each kind of delivery, under the name that its settings have in the contract.

Its function `deliver(parcel) -> str` makes one attempt.  It returns a sentence that says what was
done, or raises Failure.  It must be repeatable: the process can be killed between any two steps,
and is then started again.
"""
