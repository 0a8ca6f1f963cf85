// Package audit is the record of who changed what. Every change of an object of
// the marketplace or of the agent registry carries the [Actor] who made it, and
// the store writes one [Entry] with it, in the same transaction. Entries are
// never changed or removed by anyone.
//
// The package is separate from the layers because all of them have changes to
// account for.
package audit

import (
	"time"

	"agentmarket/ids"
)

// Kind says what sort of caller an actor is.
type Kind string

// The kinds of actors.
const (
	KindUser     Kind = "user"     // a person, by session or personal key
	KindKey      Kind = "key"      // a program with a key of its organization
	KindOperator Kind = "operator" // the platform's operator
	KindSystem   Kind = "system"   // the platform itself: a renewal, a settlement
)

// Actor is who makes a change.
type Actor struct {
	Kind Kind
	// ID is the user or the key; for the system the name of the process.
	ID string
	// Org is the actor's own organization, which may differ from the one that
	// the change is about. Empty for the system.
	Org ids.Org
	// RequestID is the request that the change was made in.
	RequestID string
}

// System is the platform itself, in one of its processes.
func System(process string) Actor { return Actor{Kind: KindSystem, ID: process} }

// Entry is one change.
type Entry struct {
	ID     ids.Audit
	Org    ids.Org // whom the change is about, and who may read it
	Actor  Actor
	Action string // what was done: listing.submit, key.create
	// Subject is the identifier of what was changed.
	Subject string
	// Before and After are the object as JSON, without secrets; nil where there
	// was or is none.
	Before, After []byte
	At            time.Time
}

// Query selects a page of entries, newest first. Zero values select everything.
type Query struct {
	Action  string
	Subject string
	Actor   string // identifier
	After   time.Time
	Until   time.Time
	Before  ids.Audit // page cursor
	Limit   int
}
