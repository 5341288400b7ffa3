"""What every other package stands on: the compiled core, checks of arguments, threads, memory."""
