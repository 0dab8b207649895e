"""Answering as a service: what waits is batched by tokens, fairly; HTTP, the page and the processes around it."""
