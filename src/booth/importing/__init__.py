"""Files of other trainers become concepts."""
