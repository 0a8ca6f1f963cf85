// Package gateway is the one server that the pods of agents reach. What the plan of a
// run grants is had through it, and what an agent does with it is on the run's record.
//
//	pod ── Bearer token ──► authenticate: whose pod is it?     Identities (the cluster's keys and labels)
//	                             │
//	                        admit: calls a second, at once     limits.go
//	                             │
//	                        the call                           one file each
//	                             │
//	                        record: does the attempt go on?    product.SessionStore, in the transaction
//	                                                           that stores what was done
//
// An agent is a stranger. Nothing that it says of itself counts: the run and the attempt
// are those of its pod, times are the gateway's, prices and bounds the plan's. A call of
// an attempt that is over, canceled or replaced is refused, whatever it carries.
//
// The gateway keeps no state of runs: any of several replicas answers any call.
package gateway
