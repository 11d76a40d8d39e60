"""The starter model of meanings: the grammar of its sentences, its training and its figures."""
