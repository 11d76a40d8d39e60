"""The generators of the zoo: a GAN, a DCGAN and a VAE, trained on digits or a user's pictures."""
