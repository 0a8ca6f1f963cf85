// Package simulate is a cluster that executes nothing, for tests and benchmarks of
// everything above it: attempts start, run for as long as they are told to, and
// end with a valid result.
//
//	test process: Jobs ──► Handler (HTTP)
//	                          ▲
//	worker process: Cluster ──┘ Create, Observe, Delete, and Watch: what changes
//
// It lives beside the workers and not in them, so that a worker can be killed while
// its Jobs go on, as in a real cluster. It can do what package infra asks of a
// cluster, and no more: there are no nodes, no images and no logs.
package simulate
