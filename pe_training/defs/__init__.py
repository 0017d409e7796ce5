"""The Dagster graph, one file per room of the same name. Asset bodies load records, call one function, store, report."""
