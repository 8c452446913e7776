"""Photos in, batches out: layouts, decoding, checks, crops, captions, class pictures, cached latents."""
