"""Training plane for therapeutic language models: a manifest goes in, a promotion decision with its evidence comes out."""

__version__ = "0.1.0"
