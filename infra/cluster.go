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
	// Logs opens the log of the attempt's container. fault.NotFound while
	// there is no container to read from.
	Logs(ctx context.Context, ref Ref, opts LogOptions) (io.ReadCloser, error)
}

// LogOptions says which part of a log is wanted.
type LogOptions struct {
	Follow bool
}
