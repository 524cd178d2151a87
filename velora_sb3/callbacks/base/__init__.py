"""What every callback of ours builds on."""
