"""The view of pairs: one ES module and its style, as a widget and as a page."""
