// Package activities is what workflows do to the world: one struct per layer,
// whose fields are the interfaces that the layer's work needs. Everything here
// may run more than once; everything is idempotent.
//
//	Marketplace   CheckEntitlement
//	Product       ResolvePlan  AwaitApproval  RecordDecision  AcquireSlot
//	              RecordCancel  SettleRun  CancelChildren
//	Rollouts      EvaluateRollout
//	Schedules     StartScheduledRun  MarkDispatched  AwaitRunEnd
//	Infra         CreateJob  AwaitJob  CheckStart  LastLook  DeleteJob  AwaitGone
//	AgentRuntime  CollectResult
//	Webhooks      Deliver  EndDelivery
//
// Payloads are flat structs of identifiers and small values. They only ever gain
// fields, for histories of years ago are replayed with them. No payload holds
// an input, an output or a secret: those go by reference.
//
// errors.go is the one place where kinds of package fault become Temporal's
// application errors.
package activities
