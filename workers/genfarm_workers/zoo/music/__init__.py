"""The starter model of music: scales, trills and melodies of simple tones."""
