"""py-libp2p 0.8.1 as a daemon needs it: one subclass per file, each with the library's file and the reason on top.

    tcp            bounded reads, a port in use is noticed, no system tasks
    multistream    bounded and pipelined protocol negotiation
    noise          one read of the socket for many messages, writes in few system calls
    upgrader       raw connection -> secured -> muxed, with a remote whose id is not known yet
    yamux          a muxer that cannot deadlock, holds remotes to their window, and waits on events
    connection     stream handlers are contained, tasks end with their connection
    swarm          bounded tables, slots given back, no retries and no automatic dialling behind our back
    identify       bounded identify messages, our own agent version
    host           ties these together

Nothing here patches the library in place; `quiet_loggers` is the only call with an effect outside an object.
"""

import logging


def quiet_loggers() -> None:
    """Silence the library's own loggers: it reports every refused stranger at WARNING or ERROR.

    Faults of remotes are counted and logged once by us (`peer.net.faults`).
    """
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
