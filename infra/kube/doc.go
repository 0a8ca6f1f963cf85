// Package kube speaks Kubernetes for layer 3. It is the only package that
// imports client-go.
//
//	infra.Sandbox ──render (pure, golden files)──► Secret + Job ──Create──► API server
//	infra.Observed ◄──observe (pure)── Job, Pod ◄──GET── API server
//	Sink ◄──infra.Classify── Watcher ◄──one shared, filtered, transformed informer on Pods
//
// Every attempt of a run has one name, run-<ulid>-a<attempt>, for its Job, its
// pods' prefix and the Secret that carries its input. Creating is idempotent by
// that name and a hash of the content; deleting is idempotent by absence.
package kube
