"""What `genfarm bench` measures: each module is one program that prints one report."""
