"""FlowWeaver: durable workflows inside one process, as a Kubernetes operator, a command and a library."""

__version__ = "0.3.2"
