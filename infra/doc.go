// Package infra is layer 3, the Infra Control Plane: where and how a run is
// executed. It makes no business decision: it takes a [Sandbox] (what one
// attempt of a run needs) and reports an [Outcome] (what became of it).
//
//	Sandbox ──Cluster.Create──► Job ──► Pod
//	                                     │ observed by one shared informer
//	Outcome ◄──Classify (pure)──── Observed
//
// Reading the world, deciding and acting are three functions. Classify is the
// one in the middle: it has no I/O and no clock, and its table test names every
// signal that Kubernetes gives. Nothing is ever inferred as success: success is
// a container that ended with 0 and a valid result envelope of this very
// attempt. A vanished pod, an unknown phase or a missing envelope is a failure
// with a reason of its own.
//
// How Kubernetes is spoken to is in infra/kube.
package infra
