"""What a running FlowWeaver tells of itself: log lines and metrics. It counts and prints, and decides nothing."""
