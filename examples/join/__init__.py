"""A model of one's own on a chain: the same task in numpy, scikit-learn and PyTorch, each as short as it can be."""
