"""Files of any size: read as a stream, cut into shards, run by one process or several, resumed after a kill."""
