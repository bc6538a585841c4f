"""Where the diagrams were imported from in 0.2; they are in `flowweaver` itself, and this keeps working."""

from flowweaver.library.mermaid import export_mermaid, save_mermaid, view_mermaid

__all__ = ["export_mermaid", "save_mermaid", "view_mermaid"]
