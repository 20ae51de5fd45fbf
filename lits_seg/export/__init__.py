"""From a checkpoint to one file that runs elsewhere: the whole contract in its graph, checked after it was written."""
