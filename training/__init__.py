"""Train and export the networks; the only place besides one export step that imports torch."""
