# Both import PyTorch, which is optional; neither holds a test or a doctest.
collect_ignore = ["record.py", "torch_side.py"]
