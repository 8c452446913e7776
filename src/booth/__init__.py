"""booth teaches a text-to-image diffusion model a new subject, by every method, and shows which one worked."""
