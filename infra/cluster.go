package infra

import (
	"context"
	"io"
	"time"
)

// Cluster is what layer 3 needs from Kubernetes. Errors are fault kinds:
// Unavailable where another try may succeed (API server down, throttled, quota
// exceeded), Conflict where an object of the same name was made for another
// sandbox, Invalid where the API server will never accept the object.
type Cluster interface {
	// Create makes the attempt's objects. It is idempotent: objects of the
	// same name and the same content count as made.
	Create(ctx context.Context, s Sandbox) error
	// Observe reads the attempt's objects from the API server, past any cache.
	// Absent objects are not an error.
	Observe(ctx context.Context, ref Ref) (Observed, error)
	// Delete ends the pod with this grace and removes the attempt's objects.
	// Absent objects are not an error. A negative grace gives the pod up: it
	// is removed from the API server although nobody has seen its process
	// end, which is the only way out when its node is gone.
	Delete(ctx context.Context, ref Ref, grace time.Duration) error
	// Clear removes what is left of an attempt whose process has ended and whose
	// result and log are collected, unless it is to stay for people to look at.
	// Absent objects are not an error.
	Clear(ctx context.Context, ref Ref) error
	// Logs opens the log of the attempt's container: lines, each after its time in
	// the form of LogTime and a space; see [LogReader]. fault.NotFound while there is
	// no container to read from.
	Logs(ctx context.Context, ref Ref, opts LogOptions) (io.ReadCloser, error)
}

// Watch is what a worker sees of the cluster without asking for it.
type Watch interface {
	// Healthy reports whether ends of pods are seen as they happen. While it is
	// false, waiting activities poll.
	Healthy() bool
	// Look returns what was last seen of an attempt's pod; false: nothing. The sink
	// of the watch is told, later than Look was asked, of everything that Look did
	// not see yet.
	Look(ref Ref) (Observed, bool)
	// Expect makes the watch look whether an attempt has got its pod by then: of a
	// Job that makes none it would never hear. It is forgotten with the process.
	Expect(ref Ref, by time.Time)
}

// LogOptions says which part of a log is wanted.
type LogOptions struct {
	Follow bool
	// Pod is the name of the attempt's pod, where it is known; empty: it is looked up.
	Pod string
	// Since leaves out lines that are older, with the precision of a second; zero: none.
	Since time.Time
}
