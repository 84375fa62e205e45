"""Programs that are measured, each in a process of its own. Each prints one line of JSON."""
