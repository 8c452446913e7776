"""Pages that stand alone: one HTML file with its tables, plots and pictures, and nothing from elsewhere."""
