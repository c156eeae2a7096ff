"""From files to functions: finding, importing and calling the code of blocks."""
