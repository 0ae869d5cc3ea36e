"""The command line: one module per noun. They ask and print; they decide nothing."""
