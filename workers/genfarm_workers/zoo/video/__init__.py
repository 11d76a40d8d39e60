"""The starter model of moving pictures: digits that slide, grow and shrink."""
