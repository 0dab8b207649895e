"""What runs cost: latency and throughput against named baselines."""
