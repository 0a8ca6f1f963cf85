// Package kube speaks Kubernetes for layer 3. It is the only package that
// imports client-go.
//
//	infra.Sandbox ──render (pure, golden files)──► Job + Secret ──Cluster.Create──► API server
//	infra.Observed ◄──observe (pure)── Job, Pod ◄──GET── API server          (only when asked)
//	pods ──feed: filtered, trimmed, indexed informer──► Watcher ──infra.Classify──► Sink
//	                                                      └─ Look: what was seen, without a call
//
// A run costs the API server what a bare Job does, and its input: creating and deleting
// both. Waiting costs it nothing. In which namespace an attempt is, follows from its
// run (place.go).
//
// Every attempt of a run has one name, run-<ulid>-a<attempt>, for its Job, its
// pods' prefix and the Secret that carries its input. Creating is idempotent by
// that name and a hash of the content; deleting is idempotent by absence.
package kube
