// Package product is layer 2, the Product Control Plane: what should run. It
// owns the agent registry (agents, their immutable versions, the channels that
// point at them and the permissions that they ask for), resolves each start to a
// [Plan], and keeps the [Run], the formal execution record that is tracked,
// billed, retried and audited. It produces intent only and knows no word of
// Kubernetes.
//
// The life of a run (see docs/run-lifecycle.md for who moves it):
//
//	queued ─► starting ─► running ─► succeeded
//	 │  ▲        │           ├──────► failed
//	 ▼  │        │           ├──────► timed_out
//	waiting_     │           └──────► budget_exhausted
//	approval     │           │
//	  ├──────────┴───────────┴─► canceling ─► canceled
//	  ├─► rejected    not entitled, not paid, against a policy, denied   nothing ever ran
//	  └─► expired     queue deadline or that of the approval passed      nothing ever ran
//
// Besides the drawing: a process whose start nobody saw ends from starting as it
// would from running; the next attempt after a platform fault leads from running
// back to starting; a run that ends by itself before its cancel arrives keeps its
// own end; and a queued run that the platform cannot carry out is failed.
//
// Terminal states never change. Each carries a reason (a stable code), the cause
// (who can do something about it) and a message for people; the table in
// reason.go is the only place that knows what follows from a reason.
package product
