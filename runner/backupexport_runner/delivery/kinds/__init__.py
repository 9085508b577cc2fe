"""One module for each kind of delivery, under the name that its settings have in the contract.

It has one function, `deliver(parcel) -> str`: one attempt, which returns a sentence that says what
was done, or raises Failure.  Whatever it does must bear being done again: the process can be
killed between any two steps, and is then started anew.
"""
