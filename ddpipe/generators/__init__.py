"""Class-conditional GANs of real data, and the latents of real images: `generators:` of params.yaml (IT-GAN)."""
