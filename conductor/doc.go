// Package conductor is the only caller of the Temporal client. It offers the
// verbs of the domain and hides workflow identifiers, queues, policies and
// signal names:
//
//	api ──StartRun, CancelRun, Decided, WaitRun──► Conductor ──► Temporal
//	api ──SyncSchedule, TriggerSchedule, BackfillSchedule, DescribeSchedule──► Conductor
//	activities ──SlotFreed, CancelRun──► Conductor
//	relay ──(what the api could not say)──► Conductor
//	kube.Watcher ──Started, Ended, Gone──► Reporter ──► Conductor
//
// The record of the run is the outbox of all of it: what could not be said to
// Temporal stays due in the store until the relay has said it.
package conductor
