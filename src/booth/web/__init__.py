"""The studio: one folder of photos, runs and concepts, shown in a browser on the same machine."""
