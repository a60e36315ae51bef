"""Steps that carry statistics: one step's graph at a time gives what the graph of all of them gives."""
