"""What a run is: settings, presets, and what the command line or a script changes of them."""
