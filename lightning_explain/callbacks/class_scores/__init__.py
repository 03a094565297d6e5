"""Class scores of the batches that pass by: which tensor holds them, and precision, recall and F1 of each class."""
