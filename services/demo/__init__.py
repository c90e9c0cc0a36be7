"""The demonstration: the main job on real faces, over real HTTP."""
