"""Where bytes and facts are kept: content-addressed artifacts and a SQL registry. Bytes first, then facts, then pointers."""
