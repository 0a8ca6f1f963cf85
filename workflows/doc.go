// Package workflows holds the stories that cross the layers, as deterministic
// Temporal workflows. They hold no I/O and no handles: activities are referenced
// by method, everything else comes from the workflow context.
//
// AgentRun is one invocation of an agent:
//
//	CheckEntitlement ─► ResolvePlan ─► approval ─► attempt 1 ─► … ─► SettleRun ─► CancelChildren
//	      │                  │             │           │                 (where there are any)
//	      └──── denied ──────┴─────────────┴► SettleRun│
//	                                                   ▼
//	AcquireSlot ─► CreateJob ─► AwaitJob ─► CollectResult ─► verdict
//	  │  ▲  │ denied                │                          │ platform's fault, or the agent's
//	  │  │  ▼                       ▼ at the start deadline    │ where a retry was asked for:
//	  │  │ SettleRun            CheckStart                     ▼ backoff, next attempt
//	  ▼  │
//	 queued: waits for the signal "slot-freed", its deadline, or 10 minutes
//
// CheckEntitlement says what a run may cost, the first AcquireSlot takes a slot
// under every limit and holds the money, and SettleRun charges what the run did
// cost, gives the rest back and hands the slot to the next run. Who was entitled at
// the check and is not any more at the slot has lost a race, and was never run.
//
// An approval, where the plan asks for one, is a wait for a person:
//
//	AwaitApproval ─► signal "decide" or its deadline ─► AwaitApproval ─► approved, denied or expired
//	                        │ the signal carries a decision     ▲
//	                        └─► RecordDecision ─────────────────┘
//
// In both waits the record decides and the signal only says when to look, so that
// one that is lost, early or repeated does no harm.
//
// A cancel arrives as the signal "cancel" (from the API, the CLI or the Web UI)
// or as a cancellation of the workflow (the Web UI's button). Both end the work
// and take one path:
//
//	RecordCancel ─► DeleteJob (SIGTERM, grace) ─► AwaitGone ─► SettleRun(canceled)
//
// Cleaning up and settling run in a context that no cancel reaches.
//
// DeliverWebhook is one message to an address of a customer: Deliver, again and
// again until it is accepted or a day is over, and EndDelivery where no try could
// record the end.
//
// Rollout is the way of a version to those who follow a channel, see
// docs/rollouts.md:
//
//	EvaluateRollout ─► wait: the next look, or the signal "rollout-changed" ─┐
//	      ▲      │ completed, rolled_back                                    │
//	      │      └─► the end                                                 │
//	      └──────────────────────────────────────────────────────────────────┘
//
// ScheduledStart is one start of a schedule, see docs/schedules.md. It lasts as long
// as its run, a child that outlives it; a cancel is passed on as the signal
// "cancel":
//
//	StartScheduledRun ─► AgentRun ─► MarkDispatched ─► the end of the run
//	      │                  └─ started before: AwaitRunEnd ─┘
//	      └─ denied: skipped
//
// Nothing in AgentRun waits by polling, and waiting occupies nothing: neither for a
// person nor for a slot, and for a Job see activities.Infra.AwaitJob.
package workflows
