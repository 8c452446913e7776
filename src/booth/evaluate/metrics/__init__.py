"""What can be measured; one metric a file, one line in the registry."""
