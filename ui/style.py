"""How the pages look: a dark reading room, whose colours keep to WCAG AA on its ground."""

STYLE = """<style>
.stMainBlockContainer { padding: 3.5rem 1.5rem 1rem }
.stBadge { font-size: 0.95rem }
.stButtonGroup button, .stButtonGroup button p { color: #e8f2fb !important }
.stCode .token.keyword { color: #83c9ff !important }
</style>"""
