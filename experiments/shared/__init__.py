"""What several experiments share: commands, networks, engines, the machine."""
