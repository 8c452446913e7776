"""AUTOMATIC1111's hypernetworks."""
