package infra

import (
	"context"
	"time"
)

// Object is one object that exists for an attempt in the cluster.
type Object struct {
	Kind      string // Job or Secret
	Namespace string
	Name      string
	UID       string // of this very object: one of the same name may follow it
	CreatedAt time.Time
	Ref       Ref
}

// Inventory is what there is in the cluster, whoever made it and why ever it is still
// there. Errors are those of Cluster.
type Inventory interface {
	// Objects hands out all objects of the platform in pages, read past any cache,
	// until page returns an error.
	Objects(ctx context.Context, page func([]Object) error) error
	// Remove deletes this very object and what belongs to it. false: it was not
	// there any more.
	Remove(ctx context.Context, o Object) (bool, error)
}
