"""What the asking side and the answering side of a farm agree on."""
