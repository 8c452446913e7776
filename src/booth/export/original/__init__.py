"""What the authors of each architecture call the layers that diffusers has by other names."""
