"""What a wrong gradient looks like.

A mistake is named only where the numbers of backward equal, in every element, those that the
mistake would give. So a hypothesis is a function from a wrong gradient to predictions, each with a
sentence; one loop compares (`minirnn.gradcheck.diagnosis.diagnose`), and where nothing fits,
nothing is claimed.
"""
