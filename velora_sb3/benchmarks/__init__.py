"""What the package is measured by: learning runs over seeds, and times taken in turns."""
