"""Commands, networks, engines and measurements that several experiments share."""
