"""What a node says to its peers and does for them: the decisions of the swarm, without a socket (specs/0025).

`swarm.Swarm` is the way in. Time, chance and what peers say come in; what is told, answered and choked goes out through
`wherry.abc.exchange`. A simulation can run all of it on a clock of its own.
"""
