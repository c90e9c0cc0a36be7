"""The command line `dwarpal`."""
