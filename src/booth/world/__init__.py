"""The captioned synthetic world: nouns with individual identities, scenes, and the pictures drawn from them."""
