"""The bytes of a checkpoint: codecs, files, and the list of classes that it may name."""
