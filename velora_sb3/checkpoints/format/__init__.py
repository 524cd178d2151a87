"""The bytes of a checkpoint: values as JSON and arrays, files, and the classes that they may name."""
