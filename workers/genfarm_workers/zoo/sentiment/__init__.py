"""The starter model of moods: the grammar of its reviews, its training and its figures."""
