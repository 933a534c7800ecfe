"""The serving side of ``tracker``: a small server that nodes announce to and ask (specs/0028)."""
