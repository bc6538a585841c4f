"""The operator: runs each Workflow of a cluster on the engine of this process.

kopf watches; everything else is ours. The way of an object: `watcher` → `queue` → `reconciler` (gather → `planning` →
carry out) → the engine; the way back: the engine's commits → `notices` → `status_writer` → the object's status.

What it needs of RBAC: in the namespaces it watches, `workflows` get, list, watch, patch, delete; `workflows/status`
patch; `events` (events.k8s.io) create. In its own namespace `leases` (coordination.k8s.io) create, and get and patch of
its own. Nothing of secrets, pods or CRDs. What each is for, tests/cluster/test_rbac.py shows.
"""

from flowweaver.operator.settings import Settings

__all__ = ["Settings", "serve"]


def serve(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; gives the exit status. Raises `FlowWeaverError` where it can not
    begin.
    """
    from flowweaver.operator.service import serve as serve_now

    return serve_now(settings)
