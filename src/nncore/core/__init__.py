"""The ground of every other package: the compiled core, checks of arguments, threads, memory."""
