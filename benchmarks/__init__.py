"""
How fast Connectome is, beside hand-written Python and its peers: ``make bench``, docs/performance.md.

Every peer runs in a process of its own and answers the same messages (``worker``, ``peers/node.mjs``); ``measure`` asks
them in turn, ``rows`` says what is asked, ``report`` says what came out.
"""
