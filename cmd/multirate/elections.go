package main

import (
	"time"
	_ "unsafe" // for go:linkname
)

// NATS has no option for these. A build with a version of it that names them
// otherwise fails to link.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

// quickElections makes the other nodes elect a leader 1 to 2 s after one was
// killed, rather than 4 to 9 s. etcd, too, waits 1 s by default. Raft's safety
// hangs on no time (Ongaro and Ousterhout, "In search of an understandable
// consensus algorithm", 2014, section 5.6); but a pause of 1 s, four heartbeats,
// costs an election now that NATS would have waited out. It comes before the node
// is made.
func quickElections() {
	minElectionTimeout, maxElectionTimeout, hbInterval = time.Second, 2*time.Second, 250*time.Millisecond
}
