"""ControlNets in one file, under the names of the original code."""
