"""The command line of wherry: parse, call the engine, render. It holds no rule about data of its own."""
