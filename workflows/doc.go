// Package workflows holds the stories that cross the layers, as deterministic
// Temporal workflows. They hold no I/O and no handles: activities are referenced
// by method, everything else comes from the workflow context.
//
// AgentRun is one invocation of an agent:
//
//	CheckEntitlement ─► ResolvePlan ─► attempt 1 ─► … ─► SettleRun
//	      │                  │             │
//	      └──── denied ──────┴─► SettleRun │
//	                                       ▼
//	AcquireSlot ─► CreateJob ─► AwaitJob ─► CollectResult ─► verdict
//	      │                         │                          │ platform's fault:
//	      │ denied                  │                          │ DeleteJob, backoff,
//	      ▼                         ▼ at the start deadline    ▼ next attempt
//	  SettleRun                 CheckStart
//
// CheckEntitlement says what a run may cost, the first AcquireSlot holds it, and
// SettleRun charges what it did cost and gives the rest back. Who was entitled at
// the check and is not any more at the slot has lost a race, and was never run.
//
// A cancel arrives as the signal "cancel" (from the API, the CLI or the Web UI)
// or as a cancellation of the workflow (the Web UI's button). Both end the work
// and take one path:
//
//	RecordCancel ─► DeleteJob (SIGTERM, grace) ─► AwaitGone ─► SettleRun(canceled)
//
// Cleaning up and settling run in a context that no cancel reaches.
//
// Nothing in here waits by polling, and waiting for a Job occupies nothing: see
// activities.Infra.AwaitJob.
package workflows
