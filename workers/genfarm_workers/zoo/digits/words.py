"""What the cards of all models of digits say of their data."""

DATA = (
    "1,437 of the 1,797 handwritten digits (8x8 pixels) bundled with scikit-learn, a part of the "
    "UCI set *Optical Recognition of Handwritten Digits* (E. Alpaydin, C. Kaynak, 1998, "
    "https://doi.org/10.24432/C50P49, CC BY 4.0); 360 are held out of every training. "
    "Enlarged to 32x32, turned, leaned, stretched and shifted a little"
)
