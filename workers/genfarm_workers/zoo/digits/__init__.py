"""A small text-to-image pipeline that draws handwritten digits, and how it is trained."""
