"""What a wrong gradient looks like: one kind of mistake a function, each with its evidence.

A kind is named only where the numbers of backward equal, in every element, those that the mistake
would give. `minirnn.gradcheck.mistakes.diagnose` asks them in turn.
"""
