"""What a checkpoint stores: model, environments, callbacks, replay buffer, random generators."""
