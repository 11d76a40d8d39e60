"""The starter model that reads digits: its training and its figures."""
