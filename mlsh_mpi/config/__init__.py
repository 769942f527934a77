"""The configuration of a run: settings, presets, and what the command line or a script changes in them."""
