"""Figures: what `plt.show()` and `fig.show()` do in a block."""
