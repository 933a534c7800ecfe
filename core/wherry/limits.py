"""Every bound of wherry, in one place, each with its reason. Sizes in bytes, times in seconds.

A bound that a foreign byte can reach raises ``LimitExceeded`` (or a more exact error) before memory is spent on it.
"""

from __future__ import annotations

from typing import Final

from wherry.units import KiB, MiB

# Addressing
CID_TEXT_CHARS_MAX: Final = 256  # refused before decoding: base decoders are quadratic on long text
MULTIBASE_CHARS_MAX: Final = 1200  # the longest public CID in base2; its square is some 10 µs
IDENTITY_BYTES_MAX: Final = 128  # IPIP-512; larger data in a name would be past every limit on blocks
LEAF_BYTES_MAX: Final = 4 * MiB  # D2: the leaf limit; one pooled buffer holds one leaf
NODE_BYTES_MAX: Final = 1 * MiB  # a manifest node is decoded whole; 1,024 entries of the longest names fit

CAR_HEADER_BYTES_MAX: Final = 1 * MiB  # read whole; a header of one root has 60 bytes
CAR_ROOTS_MAX: Final = 4096

# DAG-CBOR (specs/0003 §2: depth and item bombs in decoders without bounds)
CBOR_DEPTH_MAX: Final = 64
CBOR_ITEMS_MAX: Final = 65_536

# The public formats (specs/0031)
PB_BYTES_MAX: Final = 2 * MiB  # every IPFS implementation reads blocks of so many bytes, and none may be sent more
PB_LINKS_MAX: Final = 65_536  # 2 MiB of links to files with names of one letter hold 40,000

# The gateway (specs/0033)
GATEWAY_URL_BYTES_MAX: Final = 8 * KiB  # of a path, and of a query: a path of PATH_BYTES_MAX with every second byte escaped
GATEWAY_PATH_PARTS_MAX: Final = 128  # each may cost a block of 2 MiB to be read
GATEWAY_FIELDS_MAX: Final = 32  # of a query
GATEWAY_DEPTH_MAX: Final = 1024  # blocks above each other in one walk
GATEWAY_WAITING_MAX: Final = 1 << 18  # links that wait in one walk: some 50 MB at the worst
GATEWAY_SEEN_MAX: Final = 1 << 18  # blocks that one CAR remembers, so as not to send them twice: some 38 MB
GATEWAY_WALKS_MAX: Final = 128  # CARs and archives that a process sends at a time
GATEWAY_WALK_OWN: Final = 256  # blocks that each remembers, and links that wait in it, whatever the others do: some 60 KB
GATEWAY_WALKS_SEEN_MAX: Final = 1 << 16  # blocks that all of them remember beyond that: 10 MB
GATEWAY_WALKS_WAITING_MAX: Final = 1 << 16  # links that wait in all of them beyond that: 6 MB, and 13 MB at the worst
GATEWAY_READS_MAX: Final = 8192  # nodes read for a page or a path: the shards of 1,000 entries, and many to spare
GATEWAY_PAGE_ENTRIES: Final = 1000  # of a directory on one page
GATEWAY_KINDS_BYTES_MAX: Final = 16 * MiB  # of blocks read to say what the entries of one page are

# Torrents (specs/0036)
TORRENT_BYTES_MAX: Final = 16 * MiB  # read whole: 500 GB in pieces of 1 MiB; other clients give up at 10 MB
TORRENT_FILES_MAX: Final = 100_000  # each costs some 500 bytes while it is fetched
BENCODE_ITEMS_MAX: Final = 800_000  # values of a torrent of so many files, some 60 MB at the worst
BENCODE_DEPTH_MAX: Final = 100  # libtorrent's; folders inside folders are levels
MAGNET_CHARS_MAX: Final = 8192
TORRENT_TRACKERS_MAX: Final = 50
TORRENT_WEBSEEDS_MAX: Final = 20
TORRENT_PEERS_MAX: Final = 20  # that a magnet link, or a user, names

# Names (specs/0034)
NAME_RECORD_BYTES_MAX: Final = 10 * KiB  # the public specification's
NAME_VALUE_BYTES_MAX: Final = 2 * KiB  # a CID and a path
NAME_HOPS_MAX: Final = 8  # a name may lead to a name, and not for ever
NAME_BINARY_BYTES_MAX: Final = 64  # the multihash of a key
NAME_ASKS_MAX: Final = 16  # of one connection that wait for an answer
NAME_EVENTS_MAX: Final = 1000  # kept of each name

# Manifests
FANOUT: Final = 1024  # links a node: 1 TiB of 1 MiB leaves is two levels, and a node stays near 50 KiB
FILE_DEPTH_MAX: Final = 8  # 1024**8 leaves: beyond any file; stops a chain that nests without end
SHARD_DEPTH_MAX: Final = 8
TREE_DEPTH_MAX: Final = 128  # directories inside directories
UNIXFS_FANOUT_MAX: Final = 1024  # buckets of a shard
UNIXFS_SHARD_DEPTH_MAX: Final = 8
UNIXFS_FILE_DEPTH_MAX: Final = 32  # of nodes in one file: two links a node still reach a pebibyte
UNIXFS_REPEATED_FREE: Final = 1 << 18  # entries that come from directories that occurred before: a minute or so of making them
UNIXFS_REPEATED_TIMES: Final = 256  # and so many for each other entry: an archive of versions repeats itself, too
NAME_BYTES_MAX: Final = 255  # NAME_MAX of the usual file systems
PATH_BYTES_MAX: Final = 4096  # PATH_MAX
SYMLINK_BYTES_MAX: Final = 4096
META_BYTES_MAX: Final = 64 * KiB  # dataset metadata is for people, not for data
TREE_ENTRIES_MAX: Final = 100_000_000  # default for `get`; a manifest that claims more is refused unless allowed
TREE_BYTES_MAX: Final = 1 << 60  # 1 EiB

# Memory and work in flight
BUFFER_BYTES: Final = LEAF_BYTES_MAX  # one lent buffer: four leaves of 1 MiB, or hundreds of small blocks
BUDGET_BYTES: Final = 32 * MiB  # D6: buffers lent by a process at one time
ROOM_BYTES: Final = 16 * KiB  # of a buffer before its payload, for headers; a multiple of every page size in use
BATCH_BYTES_MAX: Final = BUFFER_BYTES + 16 * KiB  # of known sizes a request: a buffer of leaves, with the tags of sealed ones
BATCH_WANTS_MAX: Final = 512  # wants a request: enough to hide a round trip, few enough to answer from one look-up

# Peers
CONNECT_S: Final = 10.0
IDLE_S: Final = 30.0  # a peer that sends nothing for so long is given up
STARVED_S: Final = 5.0  # the same, of one that holds a buffer for which others wait: peers that die must stop nobody for 10 s
RATE_BYTES_MIN: Final = 8 * KiB  # bytes a second over IDLE_S; slower is a drip
FIRST_SOURCE_S: Final = 25.0  # no source ever reached: `get` ends within 30 s (issue), this and some slack
WAIT_S: Final = 60.0  # a source lost midway is waited for
REQUEST_BYTES_MAX: Final = 64 * KiB  # body of a request to a server
TICKET_CHARS_MAX: Final = 4096
TICKET_ADDRESSES_MAX: Final = 20
ADDRESS_CHARS_MAX: Final = 2048

# The native exchange (specs/0004)
WIRE_HELLO_BYTES_MAX: Final = 32 * KiB  # from a stranger, before anything is proven: addresses and names of codings
WIRE_SPANS_MAX: Final = 8192  # in one message: some ten KiB, decoded in a few ms; a longer map takes several
WIRE_REQUESTS_MAX: Final = 64  # that wait on one connection: 64 MiB of leaves on their way hide 100 ms at 5 Gbit/s
WIRE_PEERS_MAX: Final = 20  # in one message, as of a locator
WIRE_REASON_BYTES_MAX: Final = 255  # what a peer says why it ends a connection: a line to be shown

# What is remembered of peers (specs/0029)
PEER_ID_CHARS_MAX: Final = 128
PEERS_MAX: Final = 10_000  # remembered: some MB of memory and of disk
PEERS_NETWORK_MAX: Final = 64  # of one /24 or /48: whoever has a network of his own must not make all others forgotten
RULES_MAX: Final = 10_000  # bans and leaves that a user makes; all are in memory
AUTO_BANS_MAX: Final = 4096  # that wherry makes itself: keys cost nothing, so a liar could have as many as he likes
BAN_S: Final = 86400.0  # for a wrong block of a peer that proved its key; a disk that rots is looked at within a day
BAN_S_MAX: Final = 10 * 365 * 86400.0  # longer is for good, and said so
BAN_WHY_CHARS_MAX: Final = 500
BREAKERS_MAX: Final = 4096  # peers whose failures a process keeps in mind

# Plugins
PLUGIN_LOAD_S: Final = 10.0  # to import somebody else's: far beyond any honest one, and every start waits for it
PLUGIN_BUILD_S: Final = 30.0  # to build it: it may open a large index, or ask somebody
PLUGIN_CALL_S: Final = 10.0  # a call of a cache, compressor, cipher or chunker that takes longer is said
CACHE_CLOSE_S: Final = 5.0  # a session that ends waits so long for its cache: what is not on the disk then can be fetched again
FETCH_S: Final = 600.0  # for one arrival of any transport: a full batch at RATE_BYTES_MIN, and then it hangs
PARALLEL_MAX: Final = 64  # fetches at a time that a channel may ask for; each takes a buffer, if there is one
LOCATE_S: Final = 5.0  # a locator that takes longer is not waited for: a get without any other source would seem to hang
LOCATE_LONG_S: Final = 61.0  # however long one asks for: whoever chooses a slow locator waits for it
LOCATE_FOREIGN_MAX: Final = 100  # of one locator: what it names and nobody can dial, kept to be shown
LOCATE_ADDRESSES_MAX: Final = 20  # hints a locator; more would make this node a weapon against whoever is named
HEARSAY_MAX: Final = 20  # addresses that peers name, taken for one transfer: for the same reason
DIALS_PER_NETWORK: Final = 2  # a /24 or /48, for addresses that others named and that did not answer
DIAL_WINDOW_S: Final = 60.0
DIAL_NETWORKS_MAX: Final = 4096  # counted at one time: some hundred KB
PROVIDE_CIDS_MAX: Final = 10_000  # datasets that a node tells trackers of: the newest
POLICY_JOBS_MAX: Final = 32  # jobs in a policy's view: more than ever wait (16), and small enough to look at each time
POLICY_IDLE_S: Final = 2.0  # a peer with slots and a job it may be asked for is not left idle longer, whatever a policy says
OBSERVER_EVENTS_MAX: Final = 10_000  # events that wait for an observer: some MB; then the oldest are dropped
OBSERVER_CLOSE_S: Final = 2.0  # a session that ends waits so long for its observers: metrics are no reason to hold a user up

# Bandwidth (specs/0026)
FLOW_PEERS_MAX: Final = 1024  # peers of one transfer whose tokens are counted apart; beyond, they share the transfer's own
FLOW_PEERS_ALL_MAX: Final = 8192  # of all transfers together: some MB
FLOW_TRANSFERS_MAX: Final = 4096  # at a time; the user's own, so a bound on mistakes
FLOW_PEER_LIMITS_MAX: Final = 256  # limits of single peers; whoever has more to limit limits each
SELECTION_SPANS_MAX: Final = 1024  # stretches that are remembered of what was got of a dataset: 40 KB; the longest ones
TIMETABLE_ROWS_MAX: Final = 64  # a week by people: three stretches a day, and many to spare

# Keys (specs/0021)
KEY_FILE_BYTES_MAX: Final = 64 * KiB  # armored; 256 generations take 17 KiB
KEY_GENERATIONS_MAX: Final = 256  # of wrapping keys: a rotation a month for 21 years
PASSPHRASE_BYTES_MAX: Final = 1024
ARGON2_BYTES_MAX: Final = 1024 * MiB  # a key file that asks for more would stop this machine rather than a thief
ARGON2_OPS_MAX: Final = 10

# The swarm (specs/0025)
HAVE_SPANS_MAX: Final = 65_536  # stretches of a have-map, and of all that one connection told: 16 bytes each, 1 MiB
HAVE_SPANS_NODE_MAX: Final = 1 << 20  # of all connections: 16 MiB
HAVE_SPANS_FAIR: Final = 4096  # of one connection even then, so that nobody takes the place of others: honest maps have fewer
SWARM_PEERS_MAX: Final = 256  # connections of peers in all, if nothing else is set: each costs some 100 KB with its buffers
SWARM_FOLLOWS_MAX: Final = 1024  # datasets that one peer may follow: as many as one daemon transfers at a time
SWARM_REQUESTS_MAX: Final = 256  # requests of one peer that wait; an honest one has a few dozen
GOSSIP_ADDRESSES_MAX: Final = 20  # addresses in one message about other peers

# The daemon (specs/0027). Its control socket is the user's own, and what comes in there is bounded all the same: a loop in a
# script, or a page of a dashboard, is as good at filling memory as a stranger.
CONTROL_BODY_BYTES_MAX: Final = 64 * KiB  # a ticket, 20 addresses and a path
CONTROL_BODY_S: Final = 15.0  # for a body to arrive, and for a connection without a request
CONTROL_REQUESTS_MAX: Final = 64  # at a time; each may wait for the disk
CONTROL_STREAMS_MAX: Final = 32  # listeners to events; each holds at most one line a transfer
CONTROL_ANSWER_BYTES_MAX: Final = 64 * MiB  # what a client takes: a list of all the transfers that there can be
DRAIN_S: Final = 10.0  # for what is under way when a daemon ends
PRIORITY_MAX: Final = 100
TRANSFERS_MAX: Final = 10_000  # in a daemon that are not over; a few KiB each
TRANSFERS_OVER_MAX: Final = 1_000  # that are over and still listed; the oldest are forgotten first
TRANSFER_SOURCES_MAX: Final = TICKET_ADDRESSES_MAX
RATE_LIMIT_BYTES_MAX: Final = 1 << 50  # a second; larger is a slip of the pen
